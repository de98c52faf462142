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
	"testing"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

var messages = flag.Int("messages", 100, "for each size of key, in TestEqualToCryptoRSA")

// PKCS #1 v1.5 signatures of random messages, with many keys, are crypto/rsa's.
// (-messages 10000 takes a minute or two.)
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
				mustAll(t, together(t, l, n, func(ctx context.Context, i int) error {
					key := keys[i%len(keys)]
					var seed [16]byte
					binary.LittleEndian.PutUint64(seed[:], uint64(number))
					binary.LittleEndian.PutUint64(seed[8:], uint64(i))
					digest := sha256.Sum256(seed[:])
					got, err := key.ForContext(ctx).Sign(rand.Reader, digest[:], crypto.SHA256)
					if err != nil {
						return err
					}
					want, err := rsa.SignPKCS1v15(nil, key.rsa, crypto.SHA256, digest[:])
					if err != nil {
						return err
					}
					if !bytes.Equal(got, want) {
						return fmt.Errorf("digest %x, modulus %x:\nsignature %x\nwant      %x", digest, key.rsa.N, got, want)
					}
					return nil
				}))
			}
			if s := e.Stats(); s.Operations != uint64(*messages) || s.Fallbacks != 0 {
				t.Errorf("%d of %d made in lanes, %d fallbacks", s.Operations, *messages, s.Fallbacks)
			}
		})
	}
}
