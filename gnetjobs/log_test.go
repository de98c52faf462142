package gnetjobs_test

import (
	"net"
	"strings"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// A logger that blocks does not stop the event loop that logs.
func TestLoggerBlocks(t *testing.T) {
	s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
		if b, _ := c.Peek(1); b[0] != '!' {
			return echo(c)
		}
		c.Discard(1)
		if err := gnetjobs.Job(c, func(nc net.Conn) error {
			j, _ := jobs.FromContext(gnetjobs.JobContext(nc))
			_, err := nc.Write([]byte("+"))
			j.WaitCtx().SetWaitFD("key", 0, nil, func(*waitctx.WaitCtx, any, int, any) { panic("in a cleanup") })
			return err
		}); err != nil {
			t.Errorf("Job: %v", err)
		}
		return gnet.None
	}}, func(h gnet.EventHandler) gnet.EventHandler { return gnetjobs.Jobs(h, gnetjobs.Options{}) })
	release := make(chan bool)
	logged.hold.Store(&release)
	defer logged.hold.Store(nil)
	c := s.dial(t)
	for range 2 {
		if _, err := c.Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
		testkit.WantRead(t, c, "+")
		wantEcho(t, c, "hello")
	}
	close(release)
	got := logged.take()
	if len(got) != 2 || !strings.Contains(got[0], "gnetjobs: panic: in a cleanup") {
		t.Errorf("logged: %q", got)
	}
}
