/* Nightshift: what a fence and its mark prove about one intent, and what an answer that a proxy gave does not.
 * One object; its effect is a write on resourceVersion 1 that may be on the way for any time, and twice (PROXY).
 * Its sender may die; so may whoever takes over, between fence and look; a fence's own answer may be lost.
 * A person may edit, or put the object back with annotations of before. The kind is one whose fences move generation. */
#ifndef NC
#define NC 1                                 /* deaths */
#endif
#ifndef NH
#define NH 0                                 /* writes by others */
#endif
#ifndef NL
#define NL 1                                 /* answers lost */
#endif
byte rv=1, gen=1, spec;                      /* spec: 0 as approved, 1 as wanted, 2 somebody's */
bit key;                                     /* last-op is the intent's */
byte m_intent; bit m_void=1; byte m_count=1; /* the mark on the object: at first that of an earlier intent */
byte applied, deaths=NC, losses=NL, others=NH;
bit edited;                                  /* somebody else has written */
byte arrived, said;                          /* answers of the effect's requests; the last one: 1 applied, 2 conflict */
bit over;                                    /* the intent was settled */
byte turn;                                   /* 0 the sender's, 1 and 2 of those who take over */
byte sent=1;

#define DONE 1
#define NOT 2
#define DOUBT 3
/* Said of the intent, and true from now on: a late request finds another version. */
inline settle(v_) { atomic {
  assert(v_!=DONE || applied>=1);
  assert(v_!=NOT || (applied==0 && (rv!=1 || arrived==sent)));
  assert(v_!=DOUBT || edited);               /* willing: no doubt where nobody else wrote */
  over=1 } }

proctype Request(byte on) { atomic {
  if :: rv==on -> rv++; gen++; key=1; spec=1; applied++; said=1
     :: else -> said=2 fi;
  assert(applied<=1); arrived++ } }

inline look() { atomic {
  if :: key -> v=DONE
     :: !key && proved -> v=NOT
#ifdef LOOSE
     :: !key && !proved -> v=NOT
#else
     :: !key && !proved && fgen==1+count -> v=NOT
     :: !key && !proved && fgen!=1+count -> v=DOUBT
#endif
  fi };
  settle(v) }

/* First on the intent's version; where that moved, or no answer came, once more without, with what the mark had said. */
inline fence() {
  first=0;
  atomic { if :: rv==1 -> rv++; gen++; m_intent=1; m_void=1; m_count=1; proved=1; count=1; fgen=gen; first=1
              :: else -> skip fi };
  if :: first && losses>0 -> losses--; first=0
     :: else -> skip fi;
  do :: first -> break
     :: else ->
        atomic { proved=0; count=0;
#ifdef NO_MARK
          skip
#else
          if
#ifdef FOREIGN_MARK
          :: true -> proved=m_void; count=m_count
#else
          :: m_intent==1 -> proved=m_void; count=m_count
          :: else -> skip
#endif
          fi
#endif
        };
        atomic { rv++; gen++; count++; fgen=gen; m_intent=1; m_count=count;
#ifdef FALSE_PROOF
          m_void=1; proved=1
#else
          m_void=proved
#endif
        };
        if :: losses>0 -> losses--
           :: first=1 fi
  od }

proctype Sender() {
  byte v, count, fgen, on; bit proved, first;
  run Request(1);
#ifdef PROXY
  sent=2; run Request(1);
#endif
  do :: deaths>0 -> deaths--; turn=1; goto dead
     :: losses>0 -> losses--; fence(); look(); goto dead                  /* no answer: fence, then look */
     :: arrived==sent && said==1 -> settle(DONE); goto dead
#ifdef PROXY409
     :: arrived<sent -> goto refused         /* answered by a proxy, the request still on its way */
#endif
     :: arrived==sent && said==2 ->
refused:
#ifdef TRUST_409
        settle(NOT); goto dead;
#endif
        if :: key -> settle(DONE); goto dead                              /* sent twice: the other one was applied */
           :: !key fi;
        if                                                                /* looked at again before a new try */
#ifndef NO_KEY_CHECK
        :: atomic { key -> settle(DONE) }
        :: atomic { !key && spec==0 -> on=rv; sent++; run Request(on) }   /* a new intent, on what is there now */
#else
        :: atomic { spec==0 -> on=rv; sent++; run Request(on) }
#endif
        :: spec!=0 -> fence(); look()
        fi; goto dead
  od;
dead: skip }

proctype Taker(byte mine) {
  byte v, count, fgen; bit proved, first;
end_t: turn==mine && !over;
  fence();
  if :: deaths>0 -> deaths--; turn=mine+1; goto dead
     :: look() fi;
dead: skip }

proctype Other() {
end_o: do :: others>0 -> others--; edited=1;
     if :: atomic { rv++ }                                                /* status */
        :: atomic { rv++; gen++; spec=2 }                                 /* an edit */
        :: atomic { rv++; gen++; spec=0 }                                 /* the value put back, the notes left */
#ifndef KEEPS
        :: atomic { rv++; gen++; key=0; spec=0; m_intent=0; m_void=1; m_count=1 } /* put back as it was before */
#endif
     fi
  od }

init { atomic { run Sender(); run Taker(1); run Taker(2); run Other() } }
