package tlspeer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"
	"errors"
	"hash"
)

// trafficKeys are those of one direction (RFC 8446, section 7.3).
type trafficKeys struct {
	hash    func() hash.Hash
	keySize int
	secret  []byte
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
}

func (k *trafficKeys) set(secret []byte) {
	block, err := aes.NewCipher(k.expand(secret, "key", k.keySize))
	if err != nil {
		panic(err)
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	k.secret, k.iv, k.seq = secret, k.expand(secret, "iv", k.aead.NonceSize()), 0
}

// update follows a KeyUpdate.
func (k *trafficKeys) update() { k.set(k.expand(k.secret, "traffic upd", len(k.secret))) }

// expand is HKDF-Expand-Label with an empty context.
func (k *trafficKeys) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	b, err := hkdf.Expand(k.hash, secret, info, n)
	if err != nil {
		panic(err)
	}
	return b
}

// nonce returns that of the next record.
func (k *trafficKeys) nonce() []byte {
	n := bytes.Clone(k.iv)
	tail := n[len(n)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^k.seq)
	k.seq++
	return n
}

// seal returns a record.
func (k *trafficKeys) seal(typ byte, data []byte) []byte {
	inner := append(bytes.Clone(data), typ)
	head := RecordHead(RecordData, len(inner)+k.aead.Overhead())
	return k.aead.Seal(head, k.nonce(), inner, head)
}

// open returns what a record holds.
func (k *trafficKeys) open(head, sealed []byte) (typ byte, data []byte, err error) {
	data, err = k.aead.Open(sealed[:0], k.nonce(), sealed, head)
	if err != nil {
		return 0, nil, err
	}
	data = bytes.TrimRight(data, "\x00") // padding
	if len(data) == 0 {
		return 0, nil, errors.New("a record without a type")
	}
	return data[len(data)-1], data[:len(data)-1], nil
}
