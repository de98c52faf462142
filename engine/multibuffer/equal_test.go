package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

var messages = flag.Int("messages", 100, "for each size of key, in TestEqualToCryptoRSA")

// PKCS #1 v1.5 signatures of random messages, with many keys, are crypto/rsa's, made
// in jobs, on goroutines, and alone. (-messages 10000 takes a minute or two.)
func TestEqualToCryptoRSA(t *testing.T) {
	for _, bits := range keySizes {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			e := newEngine(t, Config{})
			l := looptest.New(t, loop.Config{})
			const perKey = 500
			left := *messages
			for number := 0; left > 0; number++ {
				var keys []*Key
				for range 2 {
					priv, err := rsa.GenerateKey(rand.Reader, bits)
					if err != nil {
						t.Fatal(err)
					}
					k, err := e.Key(priv)
					if err != nil {
						t.Fatal(err)
					}
					keys = append(keys, k.(*Key))
				}
				n := min(left, len(keys)*perKey)
				left -= n
				digest := func(i int) []byte {
					var seed [16]byte
					binary.LittleEndian.PutUint64(seed[:], uint64(number))
					binary.LittleEndian.PutUint64(seed[8:], uint64(i))
					d := sha256.Sum256(seed[:])
					return d[:]
				}
				want := make([][]byte, n)
				check := func(i int, signer crypto.Signer) error {
					got, err := signer.Sign(rand.Reader, digest(i), crypto.SHA256)
					if err == nil && !bytes.Equal(got, want[i]) {
						err = fmt.Errorf("digest %x, modulus %x:\nsignature %x\nwant      %x", digest(i), keys[i%len(keys)].rsa.N, got, want[i])
					}
					return err
				}
				mustAll(t, together(t, l, n, func(ctx context.Context, i int) error {
					key := keys[i%len(keys)]
					var err error
					if want[i], err = rsa.SignPKCS1v15(nil, key.rsa, crypto.SHA256, digest(i)); err != nil {
						return err
					}
					return check(i, key.ForContext(ctx))
				}))
				var wg sync.WaitGroup
				for first := range 16 {
					wg.Go(func() {
						for i := first; i < n; i += 16 {
							if err := check(i, keys[i%len(keys)]); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				for i := range n { // alone
					if err := check(i, keys[i%len(keys)]); err != nil {
						t.Error(err)
					}
				}
			}
			if s := e.Stats(); s.Operations != 3*uint64(*messages) || s.Fallbacks != 0 || s.Unbound != 0 {
				t.Errorf("%+v, want %d operations", s, 3**messages)
			}
		})
	}
}
