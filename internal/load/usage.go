package load

import (
	"runtime"
	"time"
)

// usage is the CPU time that this process used, up to a moment or between two.
type usage struct {
	at  time.Time
	cpu time.Duration

	wall time.Duration // between the two moments
}

func takeUsage() usage {
	cpu, _ := cpuTime()
	return usage{at: time.Now(), cpu: cpu}
}

func (u usage) sub(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, wall: u.at.Sub(before.at)}
}

// BusyLimit is the least Client.Busy at which the client may be the limit.
const BusyLimit = 0.9

// busy returns which share of its threads' time the client used. If there are fewer
// cores than threads, it is the share of the cores' time.
func (u usage) busy(loops int) float64 {
	if u.wall <= 0 {
		return 0
	}
	return u.cpu.Seconds() / u.wall.Seconds() / float64(min(loops, runtime.GOMAXPROCS(0)))
}
