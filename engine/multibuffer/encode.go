package multibuffer

import (
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"io"
)

// encoder makes the encoded messages from which RSA signatures are computed. It
// keeps the hash functions it has used. It is for one goroutine at a time.
type encoder struct {
	hashes [32]hash.Hash // by crypto.Hash
	block  [64]byte      // of a mask
}

// encode fills em with what crypto/rsa would sign for the same arguments. em must
// be as long as the modulus, whose length in bits must be a multiple of 8; as a
// number, em is then less than the modulus. ok is false for everything that
// crypto/rsa would not sign, so that the caller can get the error, or the panic,
// from crypto/rsa. An error is that of rand.
func (e *encoder) encode(em []byte, rand io.Reader, digest []byte, opts crypto.SignerOpts) (ok bool, err error) {
	switch opts := opts.(type) {
	case nil:
		return false, nil
	case *rsa.PSSOptions:
		if opts == nil || !opts.Hash.Available() {
			return false, nil
		}
		return e.pss(em, rand, digest, opts)
	}
	return encodePKCS1v15(em, digest, opts.HashFunc()), nil
}

// digestInfo is the DER encoding of the DigestInfo structures of RFC 8017, section
// 9.2, note 1, up to the digest, for the hash functions that crypto/rsa accepts.
var digestInfo = map[crypto.Hash]string{
	0:                 "", // the digest is signed as it is
	crypto.MD5:        "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.MD5SHA1:    "", // TLS 1.0 and 1.1
	crypto.SHA1:       "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.RIPEMD160:  "\x30\x20\x30\x08\x06\x06\x28\xcf\x06\x03\x00\x31\x04\x14",
	crypto.SHA256:     "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA384:     "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
	crypto.SHA512:     "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
	crypto.SHA224:     "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
	crypto.SHA512_224: "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x05\x05\x00\x04\x1c",
	crypto.SHA512_256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x06\x05\x00\x04\x20",
	crypto.SHA3_224:   "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x07\x05\x00\x04\x1c",
	crypto.SHA3_256:   "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x08\x05\x00\x04\x20",
	crypto.SHA3_384:   "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x09\x05\x00\x04\x30",
	crypto.SHA3_512:   "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x0a\x05\x00\x04\x40",
}

// encodePKCS1v15 is EMSA-PKCS1-v1_5, RFC 8017, section 9.2.
func encodePKCS1v15(em, digest []byte, h crypto.Hash) bool {
	prefix, ok := digestInfo[h]
	if !ok || h != 0 && len(digest) != h.Size() || len(em) < 2+8+1+len(prefix)+len(digest) {
		return false
	}
	// 00 01 ff ... ff 00 DigestInfo
	start := len(em) - len(prefix) - len(digest)
	em[0], em[1] = 0, 1
	for i := range em[2 : start-1] {
		em[2+i] = 0xff
	}
	em[start-1] = 0
	copy(em[start:], prefix)
	copy(em[start+len(prefix):], digest)
	return true
}

// pss is EMSA-PSS, RFC 8017, section 9.1.1, for moduli whose length in bits is a
// multiple of 8.
func (e *encoder) pss(em []byte, rand io.Reader, digest []byte, opts *rsa.PSSOptions) (ok bool, err error) {
	h := e.hash(opts.Hash)
	hashSize := h.Size()
	longest := len(em) - hashSize - 2
	saltSize := opts.SaltLength
	switch saltSize {
	case rsa.PSSSaltLengthAuto:
		saltSize = longest
	case rsa.PSSSaltLengthEqualsHash:
		saltSize = hashSize
	}
	if len(digest) != hashSize || saltSize < 0 || saltSize > longest {
		return false, nil
	}

	// maskedDB || H || bc, where DB = 00 ... 00 01 || salt
	db := em[:len(em)-hashSize-1]
	salt := db[len(db)-saltSize:]
	// h must not be in use yet: if the reader pauses the job, others use h.
	if _, err := io.ReadFull(rand, salt); err != nil {
		return false, err
	}
	clear(db[:len(db)-saltSize])
	db[len(db)-saltSize-1] = 1

	h.Reset()
	clear(e.block[:8])
	h.Write(e.block[:8])
	h.Write(digest)
	h.Write(salt)
	seed := h.Sum(em[len(db):len(db)])
	em[len(em)-1] = 0xbc

	e.mask(db, h, seed)
	db[0] &= 0x7f // the number is one bit shorter than the modulus
	return true, nil
}

// mask combines out with MGF1's mask (RFC 8017, section B.2.1) by XOR.
func (e *encoder) mask(out []byte, h hash.Hash, seed []byte) {
	for counter := uint32(0); len(out) > 0; counter++ {
		h.Reset()
		h.Write(seed)
		binary.BigEndian.PutUint32(e.block[:4], counter)
		h.Write(e.block[:4])
		n := subtle.XORBytes(out, out, h.Sum(e.block[:0]))
		out = out[n:]
	}
}

// hash returns the hash function h, the same one each time.
func (e *encoder) hash(h crypto.Hash) hash.Hash {
	if int(h) >= len(e.hashes) {
		return h.New()
	}
	if e.hashes[h] == nil {
		e.hashes[h] = h.New()
	}
	return e.hashes[h]
}
