package main

// row is a row of the tables in docs/reliability.md.
type row struct{ test, fault, holds string }

// part is a table.
type part struct {
	title string
	rows  []row
}

// parts are all tables, in the order of the page.
var parts = []part{
	{"The network and the server", []row{
		{"TestKilledServer", "The server is killed by signal 9 under 8 visitors who write, and started 1.5 s later", "nothing succeeds while it is down; the first success comes within 2 s of its start; what was answered is there; no ID comes back that was given up"},
		{"TestResetAtEveryByte", "The connection is reset after each byte of an exchange", "200 or 500; what was answered is stored, once, under one ID; no goroutine or connection is left"},
		{"TestLostReply", "The server makes a write, and its answer is lost", "the outcome is right, and made once; never both IDs alive"},
		{"TestSilence", "Nothing arrives, no answer arrives, or everything 1 s or 30 s late", "a request ends at Timeout + 0.5 s, as a 500 with one error; others go on"},
		{"TestWrongClock", "The clocks of two of three instances are a day off", "no session ends early, none is alive 2 s after its end, as seen by all three; the operators are told"},
		{"TestHangUps", "1,000 requests, a tenth of the clients hang up, 5 connections", "the connections are not used up; 99% of the others end within a second; nothing is lost or made twice"},
	}},
	{"Processes", []row{
		{"TestKilledProcess", "The app is killed by signal 9 at a random instant of saves, renewals and GC", "each session holds a value that was committed; never both IDs alive"},
		{"TestHistory", "Two instances, visitors who do everything at once, faults at random", "the checker of histories finds no lost change, no dead session alive, nothing of another visitor, and nobody logged out by a late request with an old ID"},
	}},
	{"Disks", []row{
		{"TestDiskFull", "The disk is full", "old values can be read, no file is left over, the first request with room succeeds"},
		{"TestFileSizeLimit", "No file may grow", "as with a full disk"},
		{"TestReadOnlyFolder", "The folder is read-only", "as with a full disk"},
		{"TestReadOnlyDisk", "The disk becomes read-only", "as with a full disk"},
		{"TestOutOfDescriptors", "The process has no file descriptors left", "as with a full disk; no descriptor is lost"},
		{"TestFolderMoved", "RootDir is moved away and comes back", "what was stored is there again"},
		{"TestFolderWiped", "RootDir is removed while requests run", "sessions are gone, and new ones work at once"},
		{"TestLockedFile", "Another process holds the write lock of the SQLite file", "2 s cost no error; of 10 s each write is told by one clear error at its Timeout; reads go on"},
	}},
	{"SQL servers", []row{
		{"TestPgBouncer", "PgBouncer in transaction mode, and PostgreSQL below it, are killed, reloaded and paused under load", "what was answered is there; the first success comes within 2 s"},
		{"TestTooManyConnections", "Others have taken all connections", "one clear error for each request, few tries; recovery at once"},
		{"TestReadOnlyServer", "The server takes no writes for a while", "as before; reads go on"},
		{"TestDeadlock", "Somebody else locks two rows in the other order", "no error, and each save is made once"},
		{"TestIsolation", "The default isolation is REPEATABLE READ or SERIALIZABLE", "8 writers of one session lose nothing"},
		{"TestRefusedWrites", "The server refuses a write for reasons of its own", "one clear error; the next request succeeds"},
		{"TestStatementTimeout", "The server ends each statement at once", "one clear error for each request, few tries"},
		{"TestMaxAllowedPacket", "A session is larger than a statement may be", "one clear error; other sessions go on"},
	}},
	{"Redis", []row{
		{"TestRedisScriptFlush", "SCRIPT FLUSH under load", "no request fails"},
		{"TestRedisFlushAll", "FLUSHALL under load", "visitors are as new; no request fails"},
		{"TestRedisWrongType", "A key of ours has a value of another type", "one clear error; the key is left alone"},
		{"TestRedisFullMemory", "The memory is full, with noeviction", "one clear error; reads and logouts succeed"},
		{"TestRedisACL", "The rights of the user change", "one clear error; recovery at once"},
		{"TestClusterMasterKilled", "A master of a Cluster is killed under load", "sessions work again when the Cluster does; no ID comes back that was given up"},
		{"TestClusterUnreplicated", "A master dies before it has sent a commit to its replica", "measured: what asynchronous replication loses"},
		{"TestSentinel", "The master of a Sentinel set is killed, or replaced", "sessions work again when there is a master"},
		{"TestSlotMigration", "A slot with live sessions moves under load", "nothing is lost; renewals across slots work"},
	}},
	{"The store", []row{
		{"TestNthCallFails", "The n-th call of the backend in a request fails, n = 1, 2, ... until the request succeeds: at once, after it was made, or never to end", "200 or one 500; what was answered is stored, what has ended stays dead, never two IDs of a session, nobody sees what is another's"},
	}},
	{"Clients", []row{
		{"TestHostileClient", "IDs at random, 50 cookies of our name, cookies of 8 kB, random bytes", "nothing is stored; few operations for each request; memory stays"},
		{"make fuzz", "Random input, 5 minutes for each target", "no crash, and nothing read that was not written"},
	}},
	{"Long runs", []row{
		{"TestSoak", "10 minutes at 64 goroutines, GC every second, each read an extend", "no error; memory, goroutines, descriptors and connections stay"},
	}},
}
