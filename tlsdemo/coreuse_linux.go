package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// takeCoreUse returns how the cores have been used up to now. It returns nothing
// where the kernel does not tell, as in some sandboxes.
func takeCoreUse() coreUse {
	var usable unix.CPUSet
	if unix.SchedGetaffinity(0, &usable) != nil {
		return coreUse{}
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return coreUse{}
	}
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return coreUse{}
	}
	waited, ok := runQueueWait("/proc/self/task")
	if !ok {
		return coreUse{}
	}
	u := coreUse{own: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), waited: waited}
	u.cores, u.all = cpuTimes(string(stat), usable.IsSet)
	return u
}

// tick is the unit of /proc/stat: USER_HZ is 100 on the systems Go runs on.
const tick = 10 * time.Millisecond

// cpuTimes sums up the CPU time that programs used on the usable CPUs, from the
// text of /proc/stat.
func cpuTimes(stat string, usable func(cpu int) bool) (cpus int, used time.Duration) {
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line) // see proc_stat(5)
		if len(fields) < 9 {
			continue
		}
		number, ok := strings.CutPrefix(fields[0], "cpu")
		cpu, err := strconv.Atoi(number) // fails for the line that sums them up
		if !ok || err != nil || !usable(cpu) {
			continue
		}
		cpus++
		// Interrupts (6 and 7) are left out: they are mostly the demo's own network
		// traffic. Stolen time counts: another virtual machine had the core.
		for _, i := range []int{1, 2, 3, 8} { // user, nice, system, steal
			ticks, _ := strconv.ParseInt(fields[i], 10, 64)
			used += time.Duration(ticks) * tick
		}
	}
	return cpus, used
}

// runQueueWait sums up how long the threads in a task directory have been ready
// to run without a core: the second number of each schedstat.
func runQueueWait(dir string) (sum time.Duration, ok bool) {
	files, err := filepath.Glob(dir + "/*/schedstat")
	if err != nil {
		return 0, false
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		fields := bytes.Fields(text)
		if len(fields) < 2 {
			return 0, false
		}
		ns, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return 0, false
		}
		sum += time.Duration(ns)
		ok = true
	}
	return sum, ok
}
