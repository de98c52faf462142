package loop

import (
	"context"
	"time"
)

// FlushLogs waits until Config.Logger has got what was logged.
func (l *Loop) FlushLogs() { l.logs.Queue().Flush(context.Background(), time.Minute) }
