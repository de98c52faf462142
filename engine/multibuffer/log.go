package multibuffer

import (
	"context"
	"log/slog"
	"time"

	"github.com/jobloop/jobloop/internal/logqueue"
)

// logs has what is logged called on a goroutine of its own, because a log handler that
// blocks must not block signatures or an event loop.
var logs = logqueue.Queue{Lost: func(n uint64) { slog.Warn("multibuffer: messages were lost", "lost", n) }}

// logTo logs to the handler that is slog's default one now.
func logTo(level slog.Level, msg string) {
	h, r := slog.Default().Handler(), slog.NewRecord(time.Now(), level, msg, 0)
	logs.Do(func() {
		if ctx := context.Background(); h.Enabled(ctx, level) {
			h.Handle(ctx, r)
		}
	})
}
