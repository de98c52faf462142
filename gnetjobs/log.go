package gnetjobs

import (
	"fmt"

	"github.com/panjf2000/gnet/v2/pkg/logging"

	"github.com/jobloop/jobloop/internal/logqueue"
)

// logs has gnet's logger called on a goroutine of its own: gnet's default one writes to
// standard output, and if nobody reads that, it must not stop an event loop. There is
// one queue because there is one logger.
var logs = logqueue.Queue{Lost: func(n uint64) { logging.Warnf("gnetjobs: %d messages were lost", n) }}

// logError logs a message. It is formatted at once, since what it is about may change.
func logError(format string, args ...any) {
	text := fmt.Sprintf("gnetjobs: "+format, args...)
	logs.Do(func() { logging.Errorf("%s", text) })
}
