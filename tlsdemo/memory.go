package main

import (
	"runtime/debug"
	"time"
)

// A server whose connections are mostly idle wants them small. What is left of
// an idle one is crypto/tls's own state and a loop.Conn; but resident memory is
// also what handshakes have used and left behind. "go run ./benchmarks idle
// --connections 4000 --servers jobloop" on an AMD EPYC: 9.4 KB a connection as
// Go has it, 5.5 with a memoryReturner.

// quietTime is how long no handshake may have been done before memory is given
// back.
const quietTime = 2 * time.Second

// memoryReturner returns a function to call after each handshake. When the
// calls have stopped for quietTime, what the last burst of handshakes has left
// behind is collected and given back to the system, once. Go does so only as
// new work comes, and an idle server has none.
func memoryReturner() func() {
	t := time.AfterFunc(quietTime, debug.FreeOSMemory) // on a goroutine of its own
	return func() { t.Reset(quietTime) }
}
