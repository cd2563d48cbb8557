/**
 * The link that is added to the audit chain, in the script that commits the record. Redis' Lua has SHA-1 alone, and a hash
 * made in the process would need the head first: many workers would try again and again. So SHA-256 is written out here: the
 * head is read and moved in one step, without a gap, a fork or a second try. It hashes 64 bytes whatever the entry's size, since
 * the process brings the SHA-256 of the entry; that is some 60 µs of Redis' time.
 */

/** The constants of SHA-256 (FIPS 180-4, 4.2.2). */
const K = [
  "428a2f98 71374491 b5c0fbcf e9b5dba5 3956c25b 59f111f1 923f82a4 ab1c5ed5",
  "d807aa98 12835b01 243185be 550c7dc3 72be5d74 80deb1fe 9bdc06a7 c19bf174",
  "e49b69c1 efbe4786 0fc19dc6 240ca1cc 2de92c6f 4a7484aa 5cb0a9dc 76f988da",
  "983e5152 a831c66d b00327c8 bf597fc7 c6e00bf3 d5a79147 06ca6351 14292967",
  "27b70a85 2e1b2138 4d2c6dfc 53380d13 650a7354 766a0abb 81c2c92e 92722c85",
  "a2bfe8a1 a81a664b c24b8b70 c76c51a3 d192e819 d6990624 f40e3585 106aa070",
  "19a4c116 1e376c08 2748774c 34b0bcb5 391c0cb3 4ed8aa4a 5b9cca4f 682e6ff3",
  "748f82ee 78a5636f 84c87814 8cc70208 90befffa a4506ceb bef9a3f7 c67178f2",
]
  .flatMap((line) => line.split(" "))
  .map((word) => Number.parseInt(word, 16) | 0);

/** What 64 bytes are padded with is always the same block: its schedule, with the constants added, is made once, here. */
function padding(): number[] {
  const right = (x: number, n: number) => (x >>> n) | (x << (32 - n));
  const w = [0x80000000 | 0, ...Array<number>(14).fill(0), 64 * 8];
  for (let t = 16; t < 64; t += 1) {
    const [x = 0, y = 0] = [w[t - 15], w[t - 2]];
    const low = right(x, 7) ^ right(x, 18) ^ (x >>> 3);
    const high = right(y, 17) ^ right(y, 19) ^ (y >>> 10);
    w.push(((w[t - 16] ?? 0) + low + (w[t - 7] ?? 0) + high) | 0);
  }
  return w.map((word, t) => (word + (K[t] ?? 0)) | 0);
}

/**
 * Lua: `append(stream, sealed, length, start)`. `sealed` is the entry's hex SHA-256 followed by its text, `start` the 16 hex
 * with which a chain begins. It never fails the script: a head that is no head is replaced, and verification finds the break.
 */
export const CHAIN_SCRIPT = `
local tobit, band, bxor, ror, shr = bit.tobit, bit.band, bit.bxor, bit.ror, bit.rshift
local K = {${K.join(",")}}
local PADDING = {${padding().join(",")}}
local function rounds(h, s)
  local a, b, c, d, e, f, g, i = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
  for t = 1, 64 do
    local t1 = i + bxor(ror(e,6), ror(e,11), ror(e,25)) + bxor(g, band(e, bxor(f, g))) + s[t]
    local t2 = bxor(ror(a,2), ror(a,13), ror(a,22)) + bxor(band(a, b), band(c, bxor(a, b)))
    i, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
  end
  return {tobit(h[1]+a), tobit(h[2]+b), tobit(h[3]+c), tobit(h[4]+d), tobit(h[5]+e), tobit(h[6]+f), tobit(h[7]+g), tobit(h[8]+i)}
end
local function link(prev, digest)
  local w, s, text = {}, {}, prev .. digest
  for t = 1, 16 do
    w[t] = tonumber(string.sub(text, 8*t-7, 8*t), 16)
    s[t] = w[t] + K[t]
  end
  for t = 17, 64 do
    local x, y = w[t-15], w[t-2]
    w[t] = tobit(w[t-16] + bxor(ror(x,7), ror(x,18), shr(x,3)) + w[t-7] + bxor(ror(y,17), ror(y,19), shr(y,10)))
    s[t] = w[t] + K[t]
  end
  local start = {0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19}
  local h = rounds(rounds(start, s), PADDING)
  for t = 1, 8 do h[t] = bit.tohex(h[t]) end
  return table.concat(h)
end
local function append(stream, sealed, length, start)
  local key = stream .. ':head'
  local head = redis.pcall('HMGET', key, 'seq', 'hash')
  if head.err then redis.call('DEL', key) end
  local seq, prev = tonumber(head[1] or ''), head[2] or ''
  if not seq or #prev ~= 64 or string.find(prev, '[^%x]') then seq, prev = 0, string.rep(start, 4) end
  local number = string.format('%.0f', seq + 1)
  local hash = link(prev, string.sub(sealed, 1, 64))
  local id = redis.pcall('XADD', stream, 'MAXLEN', '~', length, '*', 'seq', number, 'prev', prev, 'hash', hash, 'entry', string.sub(sealed, 65))
  redis.call('HSET', key, 'seq', number, 'hash', hash, 'id', type(id) == 'string' and id or '0-0')
end
`;
