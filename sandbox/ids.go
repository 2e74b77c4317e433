package sandbox

import (
	"crypto/rand"
	"time"
)

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newID returns an id such as "bpay_01HZX…": a prefix and a ULID, that is 48
// bits of time and 80 bits of chance in Crockford's base 32.
func newID(prefix string, now time.Time) string {
	var raw [16]byte
	ms := uint64(max(now.UnixMilli(), 0)) // a clock before 1970 would wrap around
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(raw[6:]) // never fails [crypto/rand]
	var text [26]byte
	// 26 characters hold 130 bits: two leading zero bits, then the 128 of raw.
	for i := range text {
		var v byte
		for bit := range 5 {
			v <<= 1
			if n := i*5 + bit - 2; n >= 0 {
				v |= raw[n/8] >> (7 - n%8) & 1
			}
		}
		text[i] = crockford[v]
	}
	return prefix + string(text[:])
}

// newSecret returns 128 bits of chance for checkout tokens and session ids.
func newSecret() string { return rand.Text() }
