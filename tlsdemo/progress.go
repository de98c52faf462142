package main

import (
	"fmt"
	"io"
	"time"

	"github.com/cheggaaa/pb/v3"
)

// showProgress draws a progress bar if out is a terminal. The returned function
// stops it.
func showProgress(out io.Writer, cs *clients, duration time.Duration) (stop func()) {
	f, ok := terminal(out)
	if !ok {
		return func() {}
	}
	bar := pb.New64(duration.Milliseconds())
	bar.SetTemplateString(`{{bar .}} {{string . "done"}} handshakes`)
	bar.SetWriter(f).SetMaxWidth(72).Set(pb.CleanOnFinish, true).Set("done", "0").Start()
	begin := time.Now()
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				bar.Set("done", fmt.Sprint(cs.finished.Load()))
				bar.SetCurrent(min(time.Since(begin), duration).Milliseconds())
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
		bar.Finish()
	}
}
