// Package mongowire knows what the messages between an app and MongoDB are about, for tests that put
// a [tcpproxy.Proxy] between them.
package mongowire

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/flamego/session/internal/testing/tcpproxy"
)

// Message reads one message, which starts with its length.
func Message(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.LittleEndian.Uint32(head))
	copy(msg, head)
	_, err := io.ReadFull(r, msg[4:])
	return msg, err
}

// IsHeartbeat tells what the driver asks by itself: who the server is, and how it is.
func IsHeartbeat(question []byte) bool {
	return bytes.Contains(question, []byte("ismaster\x00")) || bytes.Contains(question, []byte("isMaster\x00")) ||
		bytes.Contains(question, []byte("hello\x00"))
}

// IsCommand tells whether a message is the command of a name, about a collection.
func IsCommand(message []byte, name string) bool {
	got, _, ok := firstField(message)
	return ok && string(got) == name
}

// InTurn lets commands on collections of the same name go one by one. FerretDB 1 looks for the documents
// that match, and writes those that it has found afterwards, whatever they hold by then: where
// MongoDB lets one of 64 updates with the same filter pass, 2 to 48 did there.
func InTurn() tcpproxy.Rules {
	var turns sync.Map // of a *sync.Mutex for each collection
	return tcpproxy.Rules{
		Read: Message,
		Turn: func(command []byte) (done func()) {
			name, ok := collection(command)
			if !ok {
				return func() {}
			}
			turn, _ := turns.LoadOrStore(name, new(sync.Mutex))
			turn.(*sync.Mutex).Lock()
			return turn.(*sync.Mutex).Unlock
		},
	}
}

// collection is the value of the first field of a command, which is a string
// where the command is about a collection.
func collection(command []byte) (string, bool) {
	_, val, ok := firstField(command)
	if !ok || len(val) < 4 {
		return "", false
	}
	name, _, ok := bytes.Cut(val[4:], []byte{0}) // after its length
	return string(name), ok
}

// firstField returns the name of the first field, which is that of the command, and all bytes after it. It
// is ok if the value is a string, as it is where the command is about a collection.
func firstField(command []byte) (name, rest []byte, ok bool) {
	const first = 16 + 4 + 1 + 4 // after header, flags, kind of section, length
	if len(command) < first || command[first] != 0x02 {
		return nil, nil, false
	}
	return bytes.Cut(command[first+1:], []byte{0})
}
