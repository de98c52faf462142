package load

import (
	"context"
	"testing"

	"github.com/jobloop/jobloop/loop"
)

// Many visits may end in one turn of the loop. At most maxEnded of them are followed by
// others before the loop has closed their connections.
func TestLetClose(t *testing.T) {
	const visits = 3000
	group, err := loop.NewGroup(1, loop.Config{MaxJobs: visits + 1, MaxQueued: visits + 1})
	if err != nil {
		t.Fatal(err)
	}
	l := group.Loops()[0]
	w := &worker{run: &run{}, loop: l}
	w.run.workers = []*worker{w}
	var waiting, followed, turn int
	var turns []int // how many jobs go on in each turn
	done := make(chan struct{})
	begin := func() {
		w.countTurns()
		l.AfterJobs(func() {
			if turn > 0 {
				turns, turn = append(turns, turn), 0
			}
		})
		for range visits {
			l.Go(func(ctx context.Context) error {
				if waiting++; waiting < visits {
					w.waitForOthers(ctx)
				} else {
					w.wakeWaiting() // all of them go on in the next turn
				}
				w.ended++
				w.letClose(ctx)
				turn++
				if followed++; followed == visits {
					close(done)
				}
				return nil
			})
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- group.Run(t.Context()) }()
	if err := l.Post(begin); err != nil {
		t.Fatal(err)
	}
	<-done
	group.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// There are three turns: in the first, one job wakes the others; in the next,
	// some of these go on; the rest wait until the loop has closed connections.
	if len(turns) != 3 || turns[0]+turns[1] >= maxEnded+1 {
		t.Errorf("%d visits are followed by others in turns of %v", visits, turns)
	}
}
