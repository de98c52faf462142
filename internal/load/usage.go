package load

import (
	"runtime"
	"time"
)

// usage is what this process has used between two moments, or up to one.
type usage struct {
	at  time.Time
	cpu time.Duration

	wall time.Duration // of a difference
}

func takeUsage() usage {
	cpu, _ := cpuTime()
	return usage{at: time.Now(), cpu: cpu}
}

func (u usage) sub(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, wall: u.at.Sub(before.at)}
}

// BusyLimit is from which Client.Busy on the client is taken to be the limit.
const BusyLimit = 0.9

// busy is how much the client has used of its threads; of the cores, if there are
// fewer.
func (u usage) busy(loops int) float64 {
	if u.wall <= 0 {
		return 0
	}
	return u.cpu.Seconds() / u.wall.Seconds() / float64(min(loops, runtime.GOMAXPROCS(0)))
}
