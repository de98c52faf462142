package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobloop/jobloop/loop"
)

// Loops returns a collector of the loops' counters: jobs, connections and what became of
// them, and how long they waited to be served. They are those of loop.Stats. The label
// "loop" is the position among the arguments, from 0. It panics if a loop is nil.
//
// It is called with a *loop.Loop, or with all of them: loop.Group.Loops or
// loop.TLSListener.Loops. The loops need not run yet. For several groups in one registry,
// see the package comment.
func Loops(loops ...*loop.Loop) prometheus.Collector {
	if slices.Contains(loops, nil) {
		panic("metrics: Loops: a loop is nil")
	}
	return loopCollector(slices.Clone(loops))
}

type loopCollector []*loop.Loop

func (loopCollector) Describe(ch chan<- *prometheus.Desc) {
	loopFigures.describe(ch)
	ch <- waitsDesc
}

func (loops loopCollector) Collect(ch chan<- prometheus.Metric) {
	for i, l := range loops {
		collectLoop(ch, l.Stats(), strconv.Itoa(i))
	}
}

func collectLoop(ch chan<- prometheus.Metric, s loop.Stats, name string) {
	loopFigures.collect(ch, s, name)
	ch <- waits(s.Waits, name)
}

var loopFigures = figures[loop.Stats]{
	loopGauge("jobs_running", "Jobs that are running now.", func(s loop.Stats) uint64 { return s.JobsRunning }),
	loopGauge("jobs_paused", "Jobs that are paused now.", func(s loop.Stats) uint64 { return s.JobsPaused }),
	loopGauge("jobs_queued", "Jobs that will start when the pool has room.", func(s loop.Stats) uint64 { return s.JobsQueued }),
	loopTotal("jobs_started_total", "Jobs started.", func(s loop.Stats) uint64 { return s.JobsStarted }),
	loopTotal("jobs_finished_total", "Jobs finished, including those that were canceled or panicked.", func(s loop.Stats) uint64 { return s.JobsFinished }),
	loopTotal("jobs_canceled_total", "Jobs canceled.", func(s loop.Stats) uint64 { return s.JobsCanceled }),
	loopTotal("jobs_panicked_total", "Jobs that panicked.", func(s loop.Stats) uint64 { return s.JobsPanicked }),
	loopTotal("jobs_blocked_total", "How often a job kept the thread for loop.Config.BlockedAfter.", func(s loop.Stats) uint64 { return s.JobsBlocked }),
	loopGauge("pool_size", "Coroutines in the pool, with and without a job.", func(s loop.Stats) uint64 { return s.PoolSize }),
	loopGauge("connections", "Open connections.", func(s loop.Stats) uint64 { return s.Conns }),
	loopGauge("lingering", "Closed connections that wait for their peers to close them too.", func(s loop.Stats) uint64 { return s.Lingering }),
	loopTotal("accepted_total", "Connections accepted, including those that were then refused or failed.", func(s loop.Stats) uint64 { return s.Accepted }),
	loopTotal("gone_total", "Connections whose client gave up before it was served.", func(s loop.Stats) uint64 { return s.Gone }),
	loopTotal("shed_total", "Connections reset because they had waited too long to be served (loop.Config.MaxWait).", func(s loop.Stats) uint64 { return s.Shed }),
	refused("conns", func(s loop.Stats) uint64 { return s.RefusedConns }),
	refused("address", func(s loop.Stats) uint64 { return s.RefusedAddress }),
	refused("accept", func(s loop.Stats) uint64 { return s.RefusedAccept }),
	loopTotal("backlog_drops_total", "Connection attempts that the kernel dropped because the backlog was full.", func(s loop.Stats) uint64 { return s.BacklogDrops }),
	loopGauge("backlog", "Connections that were waiting in the kernel when the loop last looked.", func(s loop.Stats) uint64 { return s.Backlog }),
	loopTotal("accepts_paused_total", "How often accepting paused because there were no free jobs or file descriptors.", func(s loop.Stats) uint64 { return s.AcceptsPaused }),
	loopTotal("turns_total", "Turns of the loop.", func(s loop.Stats) uint64 { return s.Turns }),
	loopTotal("logs_dropped_total", "Log records lost because loop.Config.Logger did not take them fast enough.", func(s loop.Stats) uint64 { return s.LogsDropped }),
	loopTotal("events_total", "Events reported by the kernel.", func(s loop.Stats) uint64 { return s.Events }),
}

func loopTotal(name, help string, get func(loop.Stats) uint64) figure[loop.Stats] {
	return loopFigure(loopDesc(name, help, nil), prometheus.CounterValue, get)
}

func loopGauge(name, help string, get func(loop.Stats) uint64) figure[loop.Stats] {
	return loopFigure(loopDesc(name, help, nil), prometheus.GaugeValue, get)
}

func refused(reason string, get func(loop.Stats) uint64) figure[loop.Stats] {
	return loopFigure(loopDesc("refused_total", "Connections reset when they were accepted, by what refused them: loop.Config.MaxConns (conns), MaxConnsPerAddress (address) or Accept (accept).",
		prometheus.Labels{"reason": reason}), prometheus.CounterValue, get)
}

func loopFigure(desc *prometheus.Desc, kind prometheus.ValueType, get func(loop.Stats) uint64) figure[loop.Stats] {
	return figure[loop.Stats]{desc, kind, func(s loop.Stats) float64 { return float64(get(s)) }}
}

func loopDesc(name, help string, labels prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_"+name, help, []string{"loop"}, labels)
}

// waitsDesc describes the histogram of loop.Waits.
var waitsDesc = loopDesc("wait_seconds", "How long new connections waited until they were served, in the kernel's queue and the loop's.", nil)

func waits(w loop.Waits, name string) prometheus.Metric {
	buckets := make(map[float64]uint64)
	var n uint64
	for i, c := range w.Counts {
		n += c
		if i < len(w.Counts)-1 { // the last has no bound
			buckets[loop.WaitBound(i).Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(waitsDesc, n, time.Duration(w.Sum).Seconds(), buckets, name)
}
