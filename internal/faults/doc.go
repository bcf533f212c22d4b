// Package faults breaks the servers, the networks, the disks and the processes below an app with
// sessions, and looks at what its visitors and its operator see of that. It has tests only.
//
// # Model
//
// A row is one kind of fault with what must hold meanwhile and afterwards; report/rows.go lists all
// rows, and docs/reliability.md has them with what was seen. A subject is a kind of store. A row is a
// test, and has a subtest for each subject that it applies to:
//
//	go test -run TestKilledServer/redis ./internal/faults
//
// Visitors are clients of a Flamego app (app_test.go), as what counts is what they see. What a
// response has promised, a status 200, is compared with what is stored in the end.
//
// # Short and full
//
// "make test" runs the short form: few rounds, on memory, files, SQLite and Redis. "make faults" sets
// FAULTS=full, which is all rounds on all subjects. "make soak" sets FAULTS=soak, for the rows
// that take ten minutes each. With FAULTS_FIGURES=FILE each row adds its figures to a file, of
// which internal/faults/report makes the table.
package faults
