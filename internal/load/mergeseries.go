package load

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// This file merges the series of results, and their targets.

// mergeSeries merges the intervals of all parts. Those of the result begin at multiples
// of their length since 1970, so that a later merge finds them as they are. An interval
// of a part lies wholly in the one that contains its middle: it is moved by at most half
// a length, and nothing is lost.
func mergeSeries(parts []Part, from time.Time) ([]Point, error) {
	step := seriesStep(parts)
	sums := make(map[int64]*interval)
	for _, p := range parts {
		most := make(map[int64]int) // connections of this part, in each interval of the result
		for i, point := range p.Result.Series {
			h, err := point.Histogram.Decode(SeriesDigits)
			if err != nil {
				return nil, fmt.Errorf("%s: series[%d].histogram: %w", p.Name, i, err)
			}
			k := point.index(p.Result.MeasuredFrom, step)
			if sums[k] == nil {
				sums[k] = &interval{latency: newHistogram(SeriesDigits)}
			}
			sums[k].add(&interval{handshakes: point.Handshakes, errors: point.Errors, latency: h})
			most[k] = max(most[k], point.InFlight)
		}
		for k, n := range most {
			sums[k].inFlight += n
		}
	}
	points := make([]Point, 0, len(sums))
	for _, k := range slices.Sorted(maps.Keys(sums)) {
		points = append(points, sums[k].point(time.Unix(0, k*int64(step)).Sub(from), step))
	}
	return points, nil
}

// seriesStep returns the length of the intervals of a merged series: at least that of
// each part's, and enough for at most maxPoints.
func seriesStep(parts []Part) time.Duration {
	step := firstStep
	for _, p := range parts {
		for _, point := range p.Result.Series {
			for step < seconds(point.Length) {
				step *= 2
			}
		}
	}
	for {
		used := make(map[int64]bool)
		for _, p := range parts {
			for _, point := range p.Result.Series {
				used[point.index(p.Result.MeasuredFrom, step)] = true
			}
		}
		if len(used) <= maxPoints {
			return step
		}
		step *= 2
	}
}

// index returns which interval since 1970 contains the middle of the point.
func (p *Point) index(from time.Time, step time.Duration) int64 {
	middle := from.Add(seconds(p.At) + seconds(p.Length)/2)
	return middle.UnixNano() / int64(step) // not before 1970: mergeable has checked it
}

// seconds returns a time of a result, exact to the nanosecond that it was made of.
func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// mergeTargets adds the counts of each target. One that has several addresses counts as
// several.
func mergeTargets(parts []Part) ([]Target, error) {
	type key struct{ target, address string }
	type place struct{ part, index int }
	var order []key
	places := make(map[key][]place)
	for i, p := range parts {
		for j, t := range p.Result.Targets {
			k := key{t.Target, t.Address}
			if places[k] == nil {
				order = append(order, k)
			}
			places[k] = append(places[k], place{i, j})
		}
	}
	targets := make([]Target, 0, len(order))
	for _, k := range order { // one at a time: there may be many, and their histograms are large
		sum, latency := Target{Target: k.target, Address: k.address}, newHistogram(Digits)
		for _, at := range places[k] {
			t := parts[at.part].Result.Targets[at.index]
			h, err := t.Histogram.Decode(Digits)
			if err != nil {
				return nil, fmt.Errorf("%s: targets[%d].histogram: %w", parts[at.part].Name, at.index, err)
			}
			latency.Merge(h)
			sum.Handshakes += t.Handshakes
			sum.Errors += t.Errors
		}
		if latency.TotalCount() == sum.Handshakes { // every part has it
			sum.Latency, sum.Histogram = percentiles(latency), encode(latency)
		}
		targets = append(targets, sum)
	}
	return targets, nil
}
