package script

import "time"

// The index of owners is a sorted set for each owner. Its members are session IDs, and the
// score of a member is when its record expires, in milliseconds. An entry outlives its record
// a little: see slack.
//
// The clock is that of the server, by which the record expires, too. The clock of a client
// that is fast would remove the entries of live records.
//
// Where the records and the set are in one slot, a script writes both. The entry comes first,
// then the record, and the entry of the former owner goes last. So if a script fails in
// between, there is an entry too many. An error of the last step is ignored, because then the
// record has been written.

// enter begins scripts that write an entry. The set lives as long as its last entry.
const enter = `
local function now()
	local time = redis.call('TIME')
	return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function enter(set, sid, left)
	local now = now()
	local new = redis.call('ZADD', set, now + left, sid)
	if redis.call('PTTL', set) < tonumber(left) then redis.call('PEXPIRE', set, left) end
	redis.call('ZREMRANGEBYSCORE', set, '-inf', now)
	return new
end
`

// index begins scripts that write an entry and its record. Nothing tells the index of a
// delete. So each new entry removes some of those whose record is gone. What is not used any
// more is what expires next.
const index = enter + `
local function index(set, prefix, sid, left)
	if enter(set, sid, left) == 0 then return end
	for _, other in ipairs(redis.call('ZRANGE', set, 0, 3)) do
		if other ~= sid and redis.call('EXISTS', prefix .. other) == 0 then redis.call('ZREM', set, other) end
	end
end
`

// The scripts that write a record with an index. Keys and arguments are those of the scripts
// without. Then come the keys that are the first result of Sets; and the arguments are its
// second result, the prefix, the session ID, and for a rename the old session ID.
const (
	InsertOwned = index + `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
index(KEYS[2], ARGV[4], ARGV[5], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

	SwapOwned = ifSame + index + `
local owner = ARGV[5] ~= '0' and KEYS[2]
local former = KEYS[owner and 3 or 2]
if owner then index(owner, ARGV[6], ARGV[7], ARGV[5]) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
if former then redis.pcall('ZREM', former, ARGV[7]) end
return 1`

	RenameOwned = ifSame + index + `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local owner = ARGV[5] ~= '0' and KEYS[3]
local former = KEYS[owner and 4 or 3]
if owner then index(owner, ARGV[6], ARGV[7], ARGV[5]) end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
if former then redis.pcall('ZREM', former, ARGV[8]) end
return 1`
)

// List takes the prefix, and returns session ID, data and TTL of each record of a set, one
// after the other. To read the set and then the records would miss a record that gets a new
// ID in between. Entries without a record are removed. A value of another kind is no record,
// but a key of the app.
const List = `
local list, n = {}, 0
for _, sid in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
	local key = ARGV[1] .. sid
	local data = redis.pcall('GET', key)
	if type(data) == 'table' then
		if not string.find(data['err'], 'WRONGTYPE') then return data end
		data = false
	end
	local left = data and redis.call('PTTL', key)
	if data and left ~= -2 then
		list[n + 1] = sid
		list[n + 2] = data
		list[n + 3] = left
		n = n + 3
	else
		redis.call('ZREM', KEYS[1], sid)
	end
end
return list`

// These scripts are for a Cluster on which the set is in another slot than the records.
const (
	// Enter takes the session ID and what EntryMillis returns.
	Enter = enter + `
enter(KEYS[1], ARGV[1], ARGV[2])
return 1`

	// Leave takes the session ID.
	Leave = `return redis.call('ZREM', KEYS[1], ARGV[1])`

	// Members returns the session IDs. It leaves entries without a record, since Enter comes
	// before the record.
	Members = enter + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now())
return redis.call('ZRANGE', KEYS[1], 0, -1)`
)

// slack is how much longer than its record an entry lives. The entry is written first, and
// on a Cluster it may be the clock of another server that says when.
const slack = time.Minute

// SetKey returns the key of the set of an owner. It is not the key of a session, whatever the
// prefix, because of the colons.
func SetKey(prefix, owner string) string { return prefix + "flamego::session::owner:" + owner }

// Sets returns the keys of the sets that a write changes, and how many milliseconds the entry
// of the owner lives. If there is no owner, that is 0.
func Sets(prefix, owner, former string, ttl time.Duration) (sets []string, left int64) {
	if owner != "" {
		sets, left = append(sets, SetKey(prefix, owner)), EntryMillis(ttl)
	}
	if former != "" {
		sets = append(sets, SetKey(prefix, former))
	}
	return sets, left
}

// EntryMillis is how many milliseconds the entry of a record lives.
func EntryMillis(ttl time.Duration) int64 { return Millis(ttl) + slack.Milliseconds() }

// Listed calls f with each record that List has returned. A record without an expiry has a
// TTL of 0.
func Listed(reply any, f func(sid string, data []byte, left time.Duration)) error {
	list, ok := reply.([]any)
	if !ok || len(list)%3 != 0 {
		return ErrReply
	}
	for ; len(list) > 0; list = list[3:] {
		sid, isID := Text(list[0])
		data, isData := Text(list[1])
		ms, isNumber := list[2].(int64)
		if !isID || !isData || !isNumber {
			return ErrReply
		}
		f(string(sid), data, time.Duration(max(ms, 0))*time.Millisecond)
	}
	return nil
}

// Texts returns what a script says that returns texts.
func Texts(reply any) ([]string, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, ErrReply
	}
	texts := make([]string, len(list))
	for i := range list {
		text, ok := Text(list[i])
		if !ok {
			return nil, ErrReply
		}
		texts[i] = string(text)
	}
	return texts, nil
}
