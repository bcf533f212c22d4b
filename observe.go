package session

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flamego/session/internal/commit"
)

// Op is what an [Event] is about: an operation of a store on its database, or what became of a session.
type Op int

// The operations of a store on its database.
const (
	// OpLoad is [Backend].Load: each request that brings an ID begins with it.
	OpLoad Op = iota + 1
	// OpInsert is [Backend].Insert, of a new session or of the mark that a renewal leaves.
	OpInsert
	// OpSwap is [Backend].Swap: the session is saved.
	OpSwap
	// OpRename is [Backend].Rename: the session is saved under a new ID. The Handle is that of the new ID.
	// With HashRead and HashWrite it is also a record that moves, whose session keeps its ID.
	OpRename
	// OpExtend is [Backend].Extend: the session was only read.
	OpExtend
	// OpDelete is [Backend].Delete.
	OpDelete
	// OpSweep is [Backend].Sweep, a step of GC.
	OpSweep
	// OpOwned is [OwnerIndex].Owned, a list of the sessions of an owner.
	OpOwned
)

// What becomes of a session.
const (
	// OpCreated says that a session was stored for the first time.
	OpCreated Op = iota + 101
	// OpRenewed says that a session has got a new ID, as at login. The Handle is that of the new ID.
	OpRenewed
	// OpEnded says that a session was ended, as at logout: by Destroy, End or EndOwned. To end a session
	// that is there no more is an event all the same.
	OpEnded
	// OpVanished says that changes of a session were dropped, since it was ended by others, or was over,
	// while a request was using it.
	OpVanished
	// OpUnknownID says that a request had an ID that the store does not know: of a session that is over, or
	// made up, or given by another process to a visitor for whom nothing is stored. With
	// CookieOptions.WhenStored such a visitor has no ID. An ID under which this request may begin a session
	// is no event, as with AdoptUnknownIDs. The Handle is that of the unknown ID.
	OpUnknownID
	// OpUnreadable says that data of a session could not be decoded, or not all. Err says why.
	OpUnreadable
	// OpEvicted says that a session was ended because its owner has more than Options.MaxOwned. Logins of the
	// owner at the same time may end the same session, and each of them tells of it.
	OpEvicted
)

var opNames = map[Op]string{
	OpLoad: "load", OpInsert: "insert", OpSwap: "swap", OpRename: "rename", OpExtend: "extend", OpDelete: "delete",
	OpSweep: "sweep", OpOwned: "owned", OpCreated: "created", OpRenewed: "renewed", OpEnded: "ended",
	OpVanished: "vanished", OpUnknownID: "unknown ID", OpUnreadable: "unreadable", OpEvicted: "evicted",
}

// String returns one or two words: "load", "insert", "swap", "rename", "extend", "delete", "sweep", "owned",
// "created", "renewed", "ended", "vanished", "unknown ID", "unreadable" or "evicted".
func (o Op) String() string {
	if name, ok := opNames[o]; ok {
		return name
	}
	return fmt.Sprintf("Op(%d)", int(o))
}

// IsOperation reports whether it is an operation on a database, which takes time and may fail. Otherwise it
// is something that became of a session.
func (o Op) IsOperation() bool { return o >= OpLoad && o <= OpOwned }

// Event is what Options.Observe is told. It holds no session ID, no DSN and no data of a session.
type Event struct {
	// Op is what the event is about.
	Op Op
	// Session is the [Handle] of the session. It is empty for OpSweep and OpOwned.
	Session string
	// Duration is how long an operation took, with all its tries.
	Duration time.Duration
	// Tries is how often an operation was tried: 1, and 1 more for each time that the store of this module has
	// repeated it. What a driver repeats by itself is not counted. It is 0 if Op is no operation.
	Tries int
	// Bytes is the size of the data that was read or written.
	Bytes int
	// Refused says that an operation found the database not as it had to be: OpLoad found no record,
	// OpInsert found one, OpSwap and OpRename found that another request was faster or, with HashRead and
	// HashWrite, that the record stands in its other place. The store goes on from there, so this is no error.
	Refused bool
	// Err is the error of an operation, or why a session is unreadable.
	Err error
}

// LogEvents returns a function for Options.Observe that writes each event to a logger: with the message
// "session" and the attributes op, session, duration, tries, bytes, refused and err, of which those without
// a value are left out. An operation has the level Debug, or Error if it has failed. What became of
// a session has the level Info, or Warn if something was lost: OpVanished and OpUnreadable.
func LogEvents(logger *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, e Event) {
		level := e.level()
		if !logger.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 7)
		attrs = append(attrs, slog.String("op", e.Op.String()))
		if e.Session != "" {
			attrs = append(attrs, slog.String("session", e.Session))
		}
		if e.Op.IsOperation() {
			attrs = append(attrs, slog.Duration("duration", e.Duration), slog.Int("tries", e.Tries))
		}
		if e.Bytes > 0 {
			attrs = append(attrs, slog.Int("bytes", e.Bytes))
		}
		if e.Refused {
			attrs = append(attrs, slog.Bool("refused", true))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("err", e.Err.Error()))
		}
		logger.LogAttrs(ctx, level, "session", attrs...)
	}
}

func (e Event) level() slog.Level {
	switch {
	case e.Op == OpVanished || e.Op == OpUnreadable:
		return slog.LevelWarn
	case e.Err != nil:
		return slog.LevelError
	case e.Op.IsOperation():
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// observer tells the hooks of the app what happens. It is nil where there are none.
type observer struct {
	observe   func(context.Context, Event)
	trace     func(context.Context, Op) (context.Context, func(error))
	errorFunc func(error)
}

func newObserver(o *Options) *observer {
	if o.Observe == nil && o.Trace == nil {
		return nil
	}
	return &observer{o.Observe, o.Trace, o.ErrorFunc}
}

// tell calls Observe.
func (o *observer) tell(ctx context.Context, e Event) {
	if o == nil || o.observe == nil {
		return
	}
	defer o.guard("Observe")
	o.observe(ctx, e)
}

// became tells what became of the session with an ID.
func (o *observer) became(ctx context.Context, op Op, sid string, err error) {
	if o != nil && o.observe != nil {
		o.tell(ctx, Event{Op: op, Session: handleOf(digestOf(sid)), Err: err})
	}
}

// unknownID tells of a request all of whose IDs the store does not know: one event, with the first of them.
func (o *observer) unknownID(ctx context.Context, ids *candidates) {
	for _, sid := range ids {
		if sid != "" {
			o.became(ctx, OpUnknownID, sid, nil)
			return
		}
	}
}

// start calls Trace. It returns a context and a function in any case.
func (o *observer) start(ctx context.Context, op Op) (traced context.Context, end func(error)) {
	traced, end = ctx, func(error) {}
	if o.trace == nil {
		return traced, end
	}
	defer o.guard("Trace")
	inner, done := o.trace(ctx, op)
	if inner != nil {
		traced = inner
	}
	if done != nil {
		end = func(err error) {
			defer o.guard("the function that Trace returned")
			done(err)
		}
	}
	return traced, end
}

// guard keeps a hook that panics from breaking a request.
func (o *observer) guard(name string) {
	if v := recover(); v != nil {
		o.errorFunc(fmt.Errorf("session: %s panicked: %v", name, v))
	}
}

// outcomes are the events of what a commit reports.
var outcomes = [...]Op{
	commit.Created: OpCreated, commit.GotNewID: OpRenewed, commit.Ended: OpEnded, commit.Lost: OpVanished,
}
