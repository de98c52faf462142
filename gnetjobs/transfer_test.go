package gnetjobs_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// window is the most that transfer has under way. But on Linux gnetjobs cannot
// make a peer wait, so that an echo server keeps what its client does not read,
// up to Options.MaxOutbound.
func window() int {
	if runtime.GOOS == "linux" {
		return math.MaxInt
	}
	return 4 << 20
}

// transfer sends total bytes to an echo server in random pieces, reads them
// back at the same time in other pieces, and compares the SHA-256 of both
// directions.
func transfer(c io.ReadWriter, rnd *rand.Rand, total int) error {
	var (
		mu        sync.Mutex
		moved     = sync.NewCond(&mu)
		inFlight  int
		abandoned bool
	)
	source := make([]byte, 1<<20)
	for i := range source {
		source[i] = byte(rnd.Uint32())
	}
	seed := rnd.Uint64()
	sent, got := sha256.New(), sha256.New()

	writing := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(seed, 1))
		writing <- func() error {
			for done := 0; done < total; {
				n := min(pieceSize(rnd), total-done)
				mu.Lock()
				for inFlight > window()-n && !abandoned {
					moved.Wait()
				}
				inFlight += n
				stop := abandoned
				mu.Unlock()
				if stop {
					return nil
				}
				at := rnd.IntN(len(source) - n)
				piece := source[at : at+n]
				sent.Write(piece)
				if _, err := c.Write(piece); err != nil {
					return fmt.Errorf("writing after %d bytes: %w", done, err)
				}
				done += n
			}
			return nil
		}()
	}()

	rnd = rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, maxPiece)
	readErr := func() error {
		for done := 0; done < total; {
			n, err := c.Read(buf[:min(pieceSize(rnd), total-done)])
			got.Write(buf[:n])
			done += n
			mu.Lock()
			inFlight -= n
			mu.Unlock()
			moved.Signal()
			if err != nil && done < total {
				return fmt.Errorf("reading after %d bytes: %w", done, err)
			}
		}
		return nil
	}()
	mu.Lock()
	abandoned = readErr != nil
	mu.Unlock()
	moved.Signal()
	if err := <-writing; err != nil {
		return err
	}
	if readErr != nil {
		return readErr
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		return fmt.Errorf("what came back is not the %d bytes that were sent", total)
	}
	return nil
}

const maxPiece = 100_000

// pieceSize is as often small as it is large.
func pieceSize(rnd *rand.Rand) int {
	switch rnd.IntN(4) {
	case 0:
		return 1 + rnd.IntN(20)
	case 1:
		return 1 + rnd.IntN(2000)
	case 2:
		return 16384 - 2 + rnd.IntN(4) // about a record
	}
	return 1 + rnd.IntN(maxPiece)
}

// TestTransfer moves 100 MB in both directions at the same time.
func TestTransfer(t *testing.T) {
	total := 100 << 20
	if testing.Short() || testkit.RaceEnabled {
		total = 8 << 20
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		s := serve(t, &handler{onTraffic: echo}, withTLS(gnetjobs.Options{}))
		c := s.dialTLS(t, clientConfig(version))
		if err := transfer(c, rand.New(rand.NewPCG(3, uint64(version))), total); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("Jobs", func(t *testing.T) {
		s := serve(t, &handler{onTraffic: echo}, withJobs(gnetjobs.Options{}))
		if err := transfer(s.dial(t), rand.New(rand.NewPCG(4, 4)), total); err != nil {
			t.Fatal(err)
		}
	})
}
