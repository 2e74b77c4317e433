package webhook

import (
	"bytes"
	"net/http"
	"testing"
)

// benchBody is an event as Axra sends it for a checkout of a gate.
var benchBody = event(PaymentCompleted, `{
	"paymentId": "bpay_01JXABCDEFGHJKMNPQRSTVWXYZ", "status": "completed", "amount": 5.00, "currency": "USD", "network": "card",
	"metadata": {
		"sessionId": "cs_01JXABCDEFGHJKMNPQRSTVWXYZ", "paywall_installation": "0123456789abcdef", "paywall_site": "https://example.com",
		"paywall_pass": "premium", "paywall_resource": "*", "paywall_price": "5.00 USD", "paywall_access": "720h0m0s"
	}
}`)

// BenchmarkVerify is one check of a signature, by what is signed and by how many secrets
// may have signed it.
func BenchmarkVerify(b *testing.B) {
	plain, stamped := sum(newSecret, string(benchBody)), sum(newSecret, sentAt+"."+string(benchBody))
	large := bytes.Repeat([]byte(" "), 64<<10)
	for _, bench := range []struct {
		name     string
		verifier Verifier
		header   http.Header
		body     []byte
		genuine  bool
	}{
		{"body", bodyVerifier(newSecret), signed(plain), benchBody, true},
		{"timestamp and body", timestampVerifier(newSecret), signedAt(stamped, sentAt), benchBody, true},
		{"two secrets", bodyVerifier(oldSecret, newSecret), signed(plain), benchBody, true},
		{"64 KiB", bodyVerifier(newSecret), signed(sum(newSecret, string(large))), large, true},
		{"forged", bodyVerifier(oldSecret), signed(plain), benchBody, false},
		{"unsigned", bodyVerifier(newSecret), http.Header{}, benchBody, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.verifier.Verify(bench.header, bench.body); (err == nil) != bench.genuine {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode is the strict reading of one event.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if read, err := Decode(benchBody); err != nil || read.AmountError != nil || read.Session == "" {
			b.Fatal(read, err)
		}
	}
}
