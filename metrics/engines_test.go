package metrics_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/metrics"
)

func sign(key crypto.Signer) error {
	digest := sha256.Sum256([]byte("hello"))
	_, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

// All signatures are in the counters and in the histograms, whoever scrapes meanwhile.
func TestMultibuffer(t *testing.T) {
	batches := metrics.NewBatches()
	e, err := multibuffer.New(multibuffer.Config{OnBatch: batches.OnBatch})
	if errors.Is(err, multibuffer.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.Key(priv)
	if err != nil {
		t.Fatal(err)
	}
	r := registry(t, metrics.Multibuffer(e), batches)
	const signatures = 40
	var wg sync.WaitGroup
	for range signatures {
		wg.Go(func() {
			if err := sign(key); err != nil {
				t.Error(err)
			}
			if _, err := r.Gather(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := e.Stats()
	wantLines(t, scrape(t, r),
		fmt.Sprintf(`jobloop_engine_operations_total\{engine="multibuffer",way="lanes"\} %d`, signatures),
		fmt.Sprintf(`jobloop_multibuffer_batch_size_sum %d`, signatures),
		fmt.Sprintf(`jobloop_multibuffer_batch_size_count %d`, s.Batches),
		fmt.Sprintf(`jobloop_multibuffer_batch_size_bucket\{le="8"\} %d`, s.Batches),
		fmt.Sprintf(`jobloop_multibuffer_batch_wait_seconds_count %d`, s.Batches),
		fmt.Sprintf(`jobloop_multibuffer_batch_seconds_count %d`, s.Batches),
		`jobloop_multibuffer_batch_seconds_sum 0\.\d*[1-9]\d*(e-\d+)?`)
}

// refusing is a key that does not sign.
type refusing struct{ crypto.Signer }

func (refusing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no session")
}

func TestOffload(t *testing.T) {
	operations := metrics.NewOperations()
	e := newOffload(t, offload.Config{Workers: 2, OnOperation: operations.OnOperation})
	r := registry(t, metrics.Offload(e), operations)
	good, err := e.Key(testkit.ECDSAKey())
	if err != nil {
		t.Fatal(err)
	}
	bad, err := e.Key(refusing{testkit.ECDSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	const signatures = 20
	var wg sync.WaitGroup
	for range signatures {
		wg.Go(func() {
			if err := sign(good); err != nil {
				t.Error(err)
			}
			if err := sign(bad); err == nil {
				t.Error("a key that refuses has signed")
			}
			if _, err := r.Gather(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantLines(t, scrape(t, r),
		fmt.Sprintf(`jobloop_engine_operations_total\{engine="offload",way="worker"\} %d`, 2*signatures),
		fmt.Sprintf(`jobloop_offload_failed_total\{reason="error"\} %d`, signatures),
		`jobloop_offload_failed_total\{reason="panic"\} 0`,
		fmt.Sprintf(`jobloop_offload_wait_seconds_count %d`, 2*signatures),
		fmt.Sprintf(`jobloop_offload_seconds_count %d`, 2*signatures),
		`jobloop_offload_queued 0`)
}
