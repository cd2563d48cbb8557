/* Nightshift: the run protocol, as a model for Spin.
 * Switches: bounds (NA NC NX ...), one mutation per check (-DNO_...). See README.md.            */
/* Bounds, all given by the caller:
 * NA alerts (1, 2), all on the one target     NS steps of the runbook (1, 2)      NP plans posted
 * NF firing deliveries (two Alertmanagers: doubled, late, reordered)   NR resolved deliveries   NV views turning inactive
 * NC crashes, lost nudges included     NX takeovers from a live, frozen holder     NK clicks on any message ever posted
 * NL API answers lost                  NH human edits of the target                NU status writes (resourceVersion alone)
 * NFL FLUSHALL                         NFO failovers that lose a suffix            KILL the kill switch may be set      */
#define NONE 0
#define OPEN 1         /* accepted, to be planned        */
#define WAIT 2         /* plan posted                    */
#define APPR 3         /* approved                       */
#define RUN  4         /* being carried out, or settled  */
#define DONE 5         /* outcome: remediated, verified  */
#define HELD 6         /* outcome: held, page wanted     */
#define SUPP 7         /* outcome: suppressed, reason    */
#define TERM(s) (s >= DONE)
#define DEAD 3
#define KEY(a,s) (1+4*(a)+(s))             /* operation key: identity and step, never the run id; s=2,3: undo of 0,1 */
#define BIT(k) (1<<((k)-1))
#define DID(k) ((L.done>>((k)-1))&1)
#define ACTIVE(a) (v0[a]||v1[a])
#ifdef SAMEFP                               /* alerts 0 and 1 share the fingerprint, startsAt differs */
#define HIST(a) (L.hist != 0)
#else
#define HIST(a) ((L.hist>>(a))&1)
#endif
typedef Rec { byte st, nonce, from, pg, tr; bit lost, res, rp, jF, jR, jr, jt }
typedef Tgt { byte val, rv, gen, op }
typedef Lea { byte h, tr, ver, cur, io, igen, done, hist, told; byte end[2]; bit und }
Rec R[2];  Rec S[2];                       /* Redis, and what a replica has of it */
Tgt T;  Lea L;                              /* the cluster: target, Lease with ledger */
bit v0[2]=1, v1[2]=1;                       /* active at Alertmanager 0, 1 */
byte nc=NC, nx=NX, nf=NF, nr=NR, nh=NH, nu=NU, nfl=NFL, nfo=NFO, nk=NK, nl=NL, nv=NV, np;
bit saved, dl, ks, keff, stop;               /* dl: Redis lost data, not yet noticed; stop: no more faults */
byte Fk, Frv, Fn, Ftr;                 /* a patch still under way after its caller gave up */
/* ghosts */
bit acc[2], resC[2], pd[2], lossy, dlp, clicked[NP+1]; byte pf[NP+1], pal[NP+1], eff;

#define CR if :: skip :: nc>0 -> nc--; goto crash fi
#define NUDGE(x) if :: x=1 :: nc>0 -> nc-- fi           /* record changed, nudge lost by a crash */
#define OWNER(k) (((k)-1)/4)
#define STEP(k)  (((k)-1)%4)

inline apply(k_,n_,tr_) {               /* the patch reaches the API server; checks are made here */
  assert(!((eff>>(k_-1))&1));                               /* I1: at most once per key */
#ifdef SAMEFP
  assert(STEP(k_)!=0 || !((eff&1)||(eff&16)));              /* I1f: one attempt per fingerprint */
#endif
  assert(!keff);                                            /* I6 */
  assert(L.tr==tr_);                                        /* I3: target lease not lost */
  assert(clicked[n_] && pal[n_]==OWNER(k_));                /* I3: this plan was approved */
  if :: STEP(k_)<2 -> assert(T.val==pf[n_]+STEP(k_))        /* I3: on the world that was approved */
     :: else -> assert(T.val==pf[n_]+STEP(k_)-1) fi;
#if NFO==0 && !defined(LATE_OK)
  assert(!TERM(R[OWNER(k_)].st));                           /* no effect after the outcome */
#endif
  eff=eff|BIT(k_);
  if :: STEP(k_)<2 -> T.val=T.val+1 :: else -> T.val=T.val-1 fi;
  T.rv++; T.gen++;
#ifndef NO_OPID
  T.op=k_
#endif
}
#ifdef NO_OPID                              /* look: 1 happened, 2 did not, 3 cannot tell */
#define LOOK(g_,a_) o=(T.val==pf[R[a_].nonce]+STEP(k)+1 -> 1 : 2)
#else
/* The API server counts a Deployment's annotations as a change of its spec: a fence moves gen too. So the look compares with
 * the generation that the fence itself was answered with, less that one; where no fence was made, with what is there. */
#ifdef LOOSE_GEN
#define LOOK(g_,a_) o=(T.op==k -> 1 : ((fg!=0 -> fg>g_ : T.gen==g_) -> 2 : 3))
#else
#define LOOK(g_,a_) o=(T.op==k -> 1 : ((fg!=0 -> fg==g_+1 : T.gen==g_) -> 2 : 3))
#endif
#endif
#ifdef RUN_ID
#define PLANHIST(x) 0
#else
#ifdef NO_COOLDOWN
#define PLANHIST(x) (((L.hist>>x)&1) || (R[1-x].st>=RUN && R[1-x].st!=SUPP))
#else
#ifdef NO_LEDGER
#define PLANHIST(x) (HIST(x) || (T.op!=0 && OWNER(T.op)==x))
#else
#define PLANHIST(x) HIST(x)
#endif
#endif
#endif
#ifdef SAMEFP
#define JOINS(x) (R[1-x].st>=WAIT && R[1-x].st<=RUN)
#else
#define JOINS(x) 0
#endif
#if defined(SAMEFP) && !defined(NO_COOLDOWN)    /* cooldown by fingerprint, read in the ledger, again under the Lease */
#define OTHERS(a_) ((L.hist & ~(1<<(a_)))!=0)
#else
#define OTHERS(a_) 0
#endif
#ifdef NO_RECHECK
#define KSEEN 0
#else
#define KSEEN ks
#endif
#ifdef NO_REPLAN                            /* a changed world is held at once, not planned again */
#define REPLAN 0
#else
#define REPLAN 1
#endif
#ifdef SWEEP_LIVE
#define SWEEPABLE(x) 1
#else
#define SWEEPABLE(x) ((L.h==0||L.h==DEAD) && ((L.hist>>x)&1))
#endif
#ifdef NO_TOKEN
#define TOKEN(op) true
#else
#define TOKEN(op) (R[a].tr op tr)
#endif
#ifdef NO_LIVE
#define STARTOK !R[a].res
#else
#define STARTOK !R[a].res && ACTIVE(a)
#endif
#ifdef NO_TARGET_CAS
#define CASOK(rv_) true
#else
#define CASOK(rv_) (T.rv==rv_)
#endif
#ifdef NO_LEASE_CAS
#define MINE true
#else
#define MINE (L.ver==lv)
#endif

#define FENCE T.rv++; T.gen++; fg=T.gen

inline hold(a_) { R[a_].st=HELD;
#ifndef NO_OUTBOX
  R[a_].pg=1; NUDGE(R[a_].jt)
#endif
}

active [2] proctype W() {
  byte a,k,lv,tr,trv,tg,n,fr,o,unk,fg; byte me=_pid+1; bit chg;
idle: atomic { a=0;k=0;lv=0;tr=0;trv=0;tg=0;n=0;fr=0;o=0;unk=0;fg=0;chg=0 }
end_idle:
  if
#define FOR(x) \
  :: atomic { x<NA && R[x].jF -> a=x; goto cF } \
  :: atomic { x<NA && R[x].jR -> a=x; goto cR } \
  :: atomic { x<NA && R[x].jr && R[x].st==OPEN && (L.cur==0||(L.cur==x+1&&HIST(x))) -> a=x; fr=T.val; o=(L.cur==x+1 -> 1 : (PLANHIST(x) -> 2 : ((!ACTIVE(x) || JOINS(x)) -> 3 : 0))); goto pl } \
  :: atomic { x<NA && R[x].jr && R[x].st==RUN && L.cur!=x+1 && L.end[x]!=0 -> a=x; o=L.end[x]; goto f4 } \
  :: atomic { x<NA && R[x].jr && (R[x].st==APPR||R[x].st==RUN) && L.end[x]==0 && (L.cur==0||L.cur==x+1) && (L.h==0||L.h==DEAD||nx>0) -> \
       if :: L.h!=0&&L.h!=DEAD -> nx-- :: else fi; a=x; lv=L.ver; k=L.io; goto ro } \
  :: atomic { x<NA && R[x].jr && R[x].st!=OPEN && R[x].st!=APPR && R[x].st!=RUN -> R[x].jr=0 } \
  :: atomic { x<NA && R[x].jr && R[x].st==APPR && L.end[x]!=0 && L.cur==0 -> R[x].st=RUN; R[x].lost=1 } \
  :: atomic { x<NA && R[x].jt -> a=x; goto te }
  FOR(0)
  FOR(1)
#define SWEEP(x) \
  :: d_step { x<NA && !R[x].jr && (R[x].st==OPEN||R[x].st==APPR||R[x].st==RUN) -> R[x].jr=1 } \
  :: d_step { x<NA && !R[x].jt && R[x].pg==1 -> R[x].jt=1 }
#define CATCHUP(x) \
  :: d_step { x<NA && acc[x] && ACTIVE(x) && R[x].st==NONE && !R[x].jF -> R[x].jF=1 }
#define STILL(x) \
  :: atomic { x<NA && acc[x] && ACTIVE(x) && R[x].st==SUPP -> hold(x) }
#define LSWEEP(x) \
  :: atomic { x<NA && L.cur==x+1 && SWEEPABLE(x) && R[x].st!=APPR && R[x].st!=RUN -> R[x].st=RUN; R[x].lost=1; NUDGE(R[x].jr) } \
  :: d_step { x<NA && L.cur==x+1 && (L.h==0||L.h==DEAD) && !((L.hist>>x)&1) && R[x].st!=APPR && R[x].st!=RUN -> L.cur=0; L.h=0; L.tr++; L.ver++ } \
  :: d_step { x<NA && L.cur!=x+1 && L.end[x]!=0 && !((L.told>>x)&1) && R[x].st!=APPR && R[x].st!=RUN -> \
       if :: R[x].st==HELD || (R[x].st==DONE&&L.end[x]==DONE) :: else -> pd[x]=1 fi; L.told=L.told|(1<<x) }
#ifndef NO_SWEEP
  SWEEP(0)
  SWEEP(1)
#endif
#ifndef NO_CATCHUP
  CATCHUP(0)
  CATCHUP(1)
#endif
#ifndef NO_STILL
  STILL(0)
  STILL(1)
#endif
#ifndef NO_LEASE_SWEEP
  LSWEEP(0)
  LSWEEP(1)
#endif
#ifndef NO_EPOCH
  :: d_step { dl -> dlp=1; dl=0 }            /* Redis lost data: page once */
#endif
  fi;
  goto idle;

cF: atomic {                                 /* consider, firing: store it; the outcome comes only after the Lease was read */
#ifdef EARLY_OUTCOME
    if :: R[a].st==NONE && !ACTIVE(a) -> R[a].st=SUPP :: else fi;
#endif
    if :: R[a].st==NONE -> R[a].st=OPEN; NUDGE(R[a].jr) :: else fi; R[a].jF=0 }; goto idle;

cR: atomic { R[a].jR=0; resC[a]=1;           /* consider, resolved */
#ifdef NO_TOMBSTONE
    if :: R[a].st!=NONE -> R[a].res=1 :: else fi;
#else
    R[a].res=1; if :: R[a].st==NONE -> R[a].st=OPEN; NUDGE(R[a].jr) :: else fi;
#endif
    if :: R[a].st==WAIT || R[a].st==APPR -> R[a].st=SUPP :: else fi }; goto idle;

pl: atomic { R[a].jr=0;                      /* consider: plan, guard, record */
    if :: R[a].st!=OPEN
       :: R[a].st==OPEN && o==1 -> R[a].st=RUN; R[a].lost=1; NUDGE(R[a].jr)
       :: R[a].st==OPEN && o==2 -> hold(a)
       :: R[a].st==OPEN && (o==3 || (o==0 && R[a].res)) -> R[a].st=SUPP
       :: R[a].st==OPEN && o==0 && !R[a].res && np<NP ->
#ifdef RUN_ID                               /* keys hold a fresh run id: old entries match nothing */
            L.done=0; L.hist=0; L.end[a]=0; L.told=0;
#endif
            np++; pf[np]=fr; pal[np]=a; R[a].st=WAIT; R[a].nonce=np; R[a].from=fr
       :: R[a].st==OPEN && o==0 && !R[a].res && np==NP -> hold(a)
    fi }; goto idle;

te: atomic { if :: R[a].pg!=1 -> R[a].jt=0; goto idle :: else -> pd[a]=1 fi; CR };   /* tell: page, then say so */
    atomic { R[a].jt=0; if :: R[a].pg==1 -> R[a].pg=2 :: else fi }; goto idle;

ro: /* take the Lease: fence the target of an open intent first, then compare-and-set */
#ifdef CHECK_FIRST
    atomic { n=R[a].nonce; fr=R[a].from; if :: !R[a].lost && (R[a].st==RUN||R[a].st==APPR) -> R[a].st=RUN :: else -> goto idle fi };
#endif
#if !defined(NO_FENCE) && !defined(FENCE_LATE)
    if :: k!=0 -> atomic { FENCE; CR } :: else fi;
#endif
    atomic { if :: L.ver==lv -> L.h=me; L.cur=a+1; L.tr++; tr=L.tr; L.ver++; lv=L.ver; unk=k :: else -> goto idle fi; CR };
#ifdef FENCE_LATE
    if :: k!=0 -> atomic { FENCE; CR } :: else fi;
#endif
    if :: k==0 :: k!=0 ->
rs:    atomic { LOOK(L.igen,a); unk=0; fg=0; CR };           /* settle: 1 happened, 2 did not and cannot, 3 cannot tell */
#ifdef SPLIT_DOUBT
       if :: o==3 -> atomic { if :: MINE -> L.io=0; L.ver++; lv=L.ver :: else -> goto idle fi; CR }; o=HELD; goto fin :: else fi;
#endif
       atomic { if :: MINE && o!=3 -> if :: o==1 -> L.done=L.done|BIT(k) :: else fi; L.io=0; L.ver++; lv=L.ver; o=0; k=0
                   :: MINE && o==3 -> L.io=0; L.end[a]=HELD; L.cur=0; L.h=0; L.tr++; L.und=0; L.ver++; o=HELD
                   :: else -> goto idle fi; CR };
       if :: o==HELD -> goto f4 :: else fi
    fi;
#ifndef CHECK_FIRST
    atomic { n=R[a].nonce; fr=R[a].from;     /* only under the Lease: record, approval, resolved; the record keeps the fencing token */
      if :: TOKEN(<) && R[a].st==APPR && (STARTOK) -> assert(!resC[a]||lossy); R[a].st=RUN; R[a].tr=tr
         :: TOKEN(<) && R[a].st==RUN -> R[a].tr=tr; if :: R[a].lost -> o=HELD; goto fin :: else fi
         :: TOKEN(<) && R[a].st==APPR && !(STARTOK) -> R[a].st=SUPP; o=HELD; goto fin
         :: else -> o=HELD; goto fin
      fi; CR };
#endif
s2: atomic {
#ifndef CHECK_FIRST
      if :: R[a].st==RUN && !R[a].lost && R[a].nonce==n && TOKEN(==) :: else -> o=HELD; goto fin fi;
#endif
      if :: KSEEN || OTHERS(a) -> o=HELD; goto fin :: else fi;
      if :: !L.und && !DID(KEY(a,0)) -> k=KEY(a,0)
         :: !L.und && DID(KEY(a,0)) && NS==2 && !DID(KEY(a,1)) -> k=KEY(a,1)
         :: !L.und && DID(KEY(a,0)) && (NS==1 || DID(KEY(a,1))) -> goto ve
         :: L.und && NS==2 && !DID(KEY(a,3)) -> k=KEY(a,3)
         :: L.und && (NS==1 || DID(KEY(a,3))) && !DID(KEY(a,2)) -> k=KEY(a,2)
         :: L.und && DID(KEY(a,2)) -> o=HELD; goto fin
      fi;
      trv=T.rv; tg=T.gen;
#ifndef NO_FROM
      if :: T.val==fr+(STEP(k)<2 -> STEP(k) : STEP(k)-1) :: else -> chg=1; o=HELD; goto fin fi;
#endif
      CR };
#ifndef NO_INTENT
    atomic { if :: MINE -> L.io=k; L.igen=tg; L.hist=L.hist|(1<<a); L.ver++; lv=L.ver :: else -> goto idle fi; CR };
#endif
s4: atomic { assert(unk!=k);                 /* I8 */
      if :: CASOK(trv) -> apply(k,n,tr); goto s5
         :: CASOK(trv) && nl>0 -> nl--; unk=k; apply(k,n,tr)                       /* applied, answer lost */
         :: nl>0 -> nl--; unk=k                                                       /* request lost         */
         :: nl>0 && Fk==0 -> nl--; unk=k; Fk=k; Frv=trv; Fn=n; Ftr=tr         /* still under way      */
         :: !CASOK(trv) -> goto s2                                                    /* 409: surely not applied */
         :: nc>0 -> nc--; goto crash
      fi };
#ifdef BLIND_RETRY
    goto s4;
#endif
#if !defined(NO_FENCE) && !defined(LOOK_FIRST)
    if :: atomic { unk==k -> FENCE; CR } :: unk!=k fi;     /* answer unknown: fence, then look */
#endif
    atomic { LOOK(tg,a); unk=0; fg=0; CR };
    if :: o==2 -> o=0; goto s2 :: o==3 -> o=HELD; goto fin :: o==1 -> o=0 fi;
s5: atomic { if :: nc>0 -> nc--; goto crash :: skip fi;
      if :: MINE -> L.done=L.done|BIT(k); L.io=0; L.ver++; lv=L.ver; L.hist=L.hist|(1<<a) :: else -> goto idle fi; CR };
    k=0; goto s2;
ve: if :: atomic { !ACTIVE(a) -> o=DONE }; goto fin                                   /* successful   */
       :: o=HELD; goto fin                                                            /* inconclusive */
       :: atomic { L.und==0 && MINE -> L.und=1; L.ver++; lv=L.ver }; goto s2          /* failed: undo */
       :: atomic { !MINE -> goto idle }
    fi;
fin: /* end the run: nothing may be under way any more; Lease first, then record */
    atomic { if :: MINE -> k=L.io; trv=0; tg=(L.hist>>a)&1 :: else -> goto idle fi };
    if :: k==0 :: k!=0 ->
#ifndef NO_FENCE
       atomic { FENCE; CR };
#endif
       atomic { trv=(T.op==k); unk=0; fg=0; CR }
    fi;
    if :: atomic { tg ->                      /* effects possible: one write settles and ends; the record copies it */
            if :: MINE -> if :: trv -> L.done=L.done|BIT(k) :: else fi; L.io=0; L.end[a]=o; L.cur=0; L.h=0; L.tr++; L.und=0; L.ver++
               :: else -> goto idle fi; CR }; goto f4
       :: atomic { !tg ->                     /* nothing was begun: record first, by token, then let go */
            if :: R[a].st==RUN && TOKEN(==) ->
                  if :: chg && !R[a].rp && !R[a].lost && REPLAN -> R[a].st=OPEN; R[a].rp=1; R[a].jr=1
                     :: else -> R[a].jr=0; hold(a) fi
               :: else fi; CR };
          atomic { if :: MINE -> L.cur=0; L.h=0; L.tr++; L.ver++ :: else fi }; goto idle
    fi;
f4: atomic { if :: R[a].st==RUN -> R[a].jr=0; R[a].st=o; if :: o==HELD -> hold(a) :: else fi :: else -> goto idle fi; CR };
#ifdef NO_OUTBOX
    if :: o==HELD -> pd[a]=1 :: else fi;
#endif
    goto idle;
crash: atomic { if :: L.h==me -> L.h=DEAD :: else fi }; goto idle
}


inline cp(d_,s_) { d_.st=s_.st; d_.nonce=s_.nonce; d_.from=s_.from; d_.pg=s_.pg; d_.lost=s_.lost; d_.tr=s_.tr; d_.res=s_.res; d_.rp=s_.rp;
  d_.jF=s_.jF; d_.jR=s_.jR; d_.jr=s_.jr; d_.jt=s_.jt }
inline zap(d_) { d_.st=0; d_.nonce=0; d_.from=0; d_.pg=0; d_.lost=0; d_.tr=0; d_.res=0; d_.rp=0; d_.jF=0; d_.jR=0; d_.jr=0; d_.jt=0 }

active proctype Env() {                      /* Alertmanagers, people, faults; each move uses up a bound */
  byte x;
end_env: do
#ifdef NO_RECORD_CAS
#define EXPIRES 0
#else
#define EXPIRES 1
#endif
#ifdef ACK_FIRST
#define STORE(y) atomic { y<NA && nf>0 -> nf--; acc[y]=1; NUDGE(R[y].jF) }
#else
#define STORE(y) d_step { y<NA && nf>0 -> nf--; R[y].jF=1; acc[y]=1 }
#endif
#define WORLD(y) \
  :: STORE(y) \
  :: d_step { y<NA && nv>0 && v0[y] -> nv--; v0[y]=0 } \
  :: d_step { y<NA && nv>0 && v1[y] -> nv--; v1[y]=0 } \
  :: d_step { y<NA && nr>0 && (!v0[y]||!v1[y]) -> nr--; R[y].jR=1 } \
  :: atomic { y<NA && R[y].st==WAIT && EXPIRES -> hold(y) }
  WORLD(0)
  WORLD(1)
  :: atomic { nk>0 && np>0 -> nk--; if :: x=1 :: np>1 -> x=2 :: np>2 -> x=3 fi;
#ifdef NO_DIGEST
       if :: R[pal[x]].st==WAIT
#else
       if :: R[pal[x]].st==WAIT && R[pal[x]].nonce==x
#endif
             -> R[pal[x]].st=APPR; clicked[x]=1; NUDGE(R[pal[x]].jr)
          :: else fi; x=0 }
  :: atomic { nh>0 -> nh--; if :: T.val=0 :: T.val=5 fi; if :: T.op=0 :: skip fi; T.rv++; T.gen++ }
  :: d_step { nu>0 -> nu--; T.rv++ }
  :: d_step { nfl>0 -> nfl--; zap(R[0]); lossy=1; dl=1;
       zap(R[1]);
#ifdef NO_LEDGER
       L.io=0; L.done=0; L.hist=0; L.end[0]=0; L.end[1]=0; L.cur=0; L.und=0; L.told=0;
#endif
       skip }
  :: d_step { nfo>0 && !saved -> saved=1; cp(S[0],R[0]);
       cp(S[1],R[1]) }
  :: d_step { nfo>0 && saved -> nfo--; saved=0; cp(R[0],S[0]); zap(S[0]); lossy=1; dl=1;
       cp(R[1],S[1]); zap(S[1]) }
  :: atomic { Fk!=0 -> if :: CASOK(Frv) -> apply(Fk,Fn,Ftr) :: skip fi; Fk=0; Frv=0; Fn=0; Ftr=0 }
  :: d_step { !stop -> stop=1; nc=0; nx=0; nf=0; nr=0; nh=0; nu=0; nfl=0; nfo=0; nk=0; nl=0; nv=0 }
  od
}

#ifdef NO_RECORD_CAS
active proctype Expiry() { end_x: atomic { R[0].st==WAIT }; atomic { hold(0) } }
#endif

#if KILL
active proctype Pause() {                    /* kill switch: set it, then take every held Lease away, fencing its target */
  byte lv,k;
  ks=1;
#ifndef NO_REVOKE
again: atomic { lv=L.ver; k=L.io };
  if :: k -> T.rv++; T.gen++ :: else fi;
  atomic { if :: L.ver==lv -> L.h=0; L.tr++; L.ver++ :: else -> goto again fi };
#endif
  keff=1
}
#endif

#define END(x) \
  assert(!acc[x] || TERM(R[x].st) || (R[x].st==NONE && dlp && !ACTIVE(x)));      /* I7: one outcome       */ \
  assert(R[x].st!=HELD || pd[x]);                                               /* held means paged      */ \
  assert(!acc[x] || !ACTIVE(x) || (R[x].st==HELD && pd[x]));                    /* still firing: paged   */ \
  assert(!((eff>>(4*x))&15) || R[x].st==DONE || pd[x] || dlp)                   /* an effect is reported */
active proctype Mon() {
end_mon: timeout;
  END(0);
  END(1);
  assert(L.cur==0 && L.h==0)
}
