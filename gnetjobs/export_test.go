package gnetjobs

import (
	"context"
	"time"
	"unsafe"

	"github.com/panjf2000/gnet/v2"
)

// StepClock makes c's event loop one that began before the system's clock was
// set forward by d. It is for the loop's goroutine.
func StepClock(c gnet.Conn, d time.Duration) { step(&c.(*conn).host.start, d) }

// step makes t what it would be if the system's clock had been set forward by d
// since: its wall time is d earlier, its monotonic reading the same.
func step(t *time.Time, d time.Duration) {
	p := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(t))
	if p.wall>>63 == 0 {
		panic("no monotonic reading")
	}
	p.wall -= uint64(int64(d/time.Second)) << 30
}

// InPoll reports whether c's event loop does what gnet's poll has found. It is
// for the loop's goroutine.
func InPoll(c gnet.Conn) bool { return c.(*conn).host.inPoll }

// FlushLogs waits until gnet's logger has got what was logged.
func FlushLogs() { logs.Flush(context.Background(), time.Minute) }
