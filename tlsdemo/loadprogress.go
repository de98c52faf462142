package main

import (
	"fmt"
	"io"

	"github.com/cheggaaa/pb/v3"

	"github.com/jobloop/jobloop/internal/load"
)

// loadProgress draws a progress line, if the output is a terminal.
type loadProgress struct {
	bar *pb.ProgressBar // nil: no terminal
}

func newLoadProgress(out io.Writer, quiet bool) *loadProgress {
	f, ok := terminal(out)
	if !ok || quiet {
		return new(loadProgress)
	}
	bar := pb.New64(1)
	bar.SetTemplateString(`{{string . "phase"}} {{bar . }} {{string . "figures"}}`)
	bar.SetWriter(f).SetMaxWidth(100).Set(pb.CleanOnFinish, true).Set(pb.Static, true)
	return &loadProgress{bar: bar.Start()}
}

// show redraws the line. Only one goroutine at a time may call it.
func (p *loadProgress) show(s load.Progress) {
	if p.bar == nil {
		return
	}
	p.bar.Set("phase", fmt.Sprintf("%4.0fs %-9s", s.Elapsed.Seconds(), s.Phase))
	p.bar.Set("figures", fmt.Sprintf("%.0f/s, %d in flight, p99 %s, %d errors", s.Rate, s.InFlight, micros(s.P99.Microseconds()), s.Errors))
	if s.Whole > 0 {
		p.bar.SetTotal(s.Whole.Milliseconds())
		p.bar.SetCurrent(min(s.Elapsed, s.Whole).Milliseconds())
	}
	p.bar.Write()
}

func (p *loadProgress) end() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
