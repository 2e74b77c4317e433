package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	oldSecret = "bs_test_old-secret"
	newSecret = "bs_test_new-secret"
	sentAt    = "2025-06-01T12:00:00.123Z"
)

var paidBody = []byte(`{"event":"payment.completed","timestamp":"2025-06-01T12:00:00Z","data":{"amount":5.00,"currency":"USD"}}`)

func sum(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func bodyVerifier(secrets ...string) Verifier {
	v := Verifier{Header: DefaultHeader, Scheme: SchemeBody, TimestampHeader: DefaultTimestampHeader}
	for _, secret := range secrets {
		v.Secrets = append(v.Secrets, []byte(secret))
	}
	return v
}

func timestampVerifier(secrets ...string) Verifier {
	v := bodyVerifier(secrets...)
	v.Scheme = SchemeTimestampBody
	return v
}

func inBase64(encoding *base64.Encoding, digits string) string {
	raw, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	return encoding.EncodeToString(raw)
}

// loose writes bytes in base64 so that a lenient decoder reads them, but not as they
// should be written.
func loose(raw []byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	text := base64.RawStdEncoding.EncodeToString(raw)
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last|1])
}

// signed is a header with the signature.
func signed(signature string) http.Header {
	header := make(http.Header)
	header.Set(DefaultHeader, signature)
	return header
}

// signedAt is a header with the signature and a timestamp.
func signedAt(signature, timestamp string) http.Header {
	header := signed(signature)
	header.Set(DefaultTimestampHeader, timestamp)
	return header
}

// delivery is a body with its headers, and the verifier that it comes to.
type delivery struct {
	name     string
	verifier Verifier
	header   http.Header
	body     string
}

func wantAccepted(t *testing.T, deliveries []delivery) {
	t.Helper()
	for _, d := range deliveries {
		if err := d.verifier.Verify(d.header, []byte(d.body)); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
	}
}

// wantRefused also looks for what would help a forger in the errors.
func wantRefused(t *testing.T, deliveries []delivery) {
	t.Helper()
	for _, d := range deliveries {
		err := d.verifier.Verify(d.header, []byte(d.body))
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want %v", d.name, err, ErrSignature)
			continue
		}
		told := []string{newSecret, oldSecret, standardSecret, standardMAC}
		for _, secret := range d.verifier.Secrets {
			if len(secret) > 0 {
				told = append(told, string(secret), sum(string(secret), d.body))
			}
		}
		if slices.ContainsFunc(told, func(secret string) bool { return strings.Contains(err.Error(), secret) }) {
			t.Errorf("%s: the error quotes a secret or a signature: %v", d.name, err)
		}
	}
}

func TestGenuineSignaturesAreAccepted(t *testing.T) {
	body := string(paidBody)
	signature := sum(newSecret, body)
	stamped := sum(newSecret, sentAt+"."+body)
	custom := bodyVerifier(newSecret)
	custom.Header = "Axra-Signature-V2"
	customStamp := timestampVerifier(newSecret)
	customStamp.TimestampHeader = "Axra-Sent"
	wantAccepted(t, []delivery{
		{"hex", bodyVerifier(newSecret), signed(signature), body},
		{"hex in upper case", bodyVerifier(newSecret), signed(strings.ToUpper(signature)), body},
		{"with its prefix", bodyVerifier(newSecret), signed("sha256=" + signature), body},
		{"with spaces around", bodyVerifier(newSecret), signed(" " + signature + "\t"), body},
		{"header of another name", custom, http.Header{"Axra-Signature-V2": {signature}}, body},
		{"an empty body", bodyVerifier(newSecret), signed(sum(newSecret, "")), ""},
		{"a body of any bytes", bodyVerifier(newSecret), signed(sum(newSecret, "\x00\xff\n")), "\x00\xff\n"},
		{"W3 the new secret, named first", bodyVerifier(newSecret, oldSecret), signed(signature), body},
		{"W3 the new secret, named last", bodyVerifier(oldSecret, newSecret), signed(signature), body},
		{"W3 the old secret", bodyVerifier(newSecret, oldSecret), signed(sum(oldSecret, body)), body},
		{"W3 the same secret twice", bodyVerifier(newSecret, newSecret), signed(signature), body},
		{"W2 beside an empty secret", bodyVerifier("", newSecret), signed(signature), body},
		{"base64", bodyVerifier(newSecret), signed(inBase64(base64.StdEncoding, signature)), body},
		{"base64 without padding", bodyVerifier(newSecret), signed(inBase64(base64.RawStdEncoding, signature)), body},
		{"base64 for addresses", bodyVerifier(newSecret), signed(inBase64(base64.URLEncoding, signature)), body},
		{"base64 for addresses, without padding, with a prefix", bodyVerifier(newSecret), signed("sha256=" + inBase64(base64.RawURLEncoding, signature)), body},
		{"a timestamp and base64", timestampVerifier(newSecret), signedAt(inBase64(base64.StdEncoding, stamped), sentAt), body},
		{"a timestamp in ISO 8601", timestampVerifier(newSecret), signedAt(stamped, sentAt), body},
		{"a timestamp, with its prefix", timestampVerifier(newSecret), signedAt("sha256="+stamped, sentAt), body},
		{"a Unix timestamp", timestampVerifier(newSecret), signedAt(sum(newSecret, "1748779200."+body), "1748779200"), body},
		{"a timestamp of last year", timestampVerifier(newSecret), signedAt(sum(newSecret, "1700000000."+body), "1700000000"), body},
		{"W3 a timestamp and the old secret", timestampVerifier(newSecret, oldSecret), signedAt(sum(oldSecret, sentAt+"."+body), sentAt), body},
		{"a timestamp header of another name", customStamp, http.Header{DefaultHeader: {stamped}, "Axra-Sent": {sentAt}}, body},
		{"a timestamp that the scheme does not use", bodyVerifier(newSecret), signedAt(signature, sentAt), body},
	})
}

func TestForgedSignaturesAreRefused(t *testing.T) {
	body := string(paidBody)
	signature := sum(newSecret, body)
	raw, err := hex.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	stamped := sum(newSecret, sentAt+"."+body)
	plain := sha256.Sum256(paidBody)
	short := hmac.New(sha1.New, []byte(newSecret))
	short.Write(paidBody)
	twice := http.Header{DefaultHeader: {signature, signature}}
	twoStamps := signedAt(stamped, sentAt)
	twoStamps.Add(DefaultTimestampHeader, sentAt)
	long := strings.Repeat("1", maxText+1)

	wantRefused(t, []delivery{
		{"W1 no signature", bodyVerifier(newSecret), http.Header{}, body},
		{"W1 an empty signature", bodyVerifier(newSecret), signed(""), body},
		{"W1 truncated by a byte", bodyVerifier(newSecret), signed(signature[:62]), body},
		{"W1 64 KB", bodyVerifier(newSecret), signed(strings.Repeat(signature, 1024)), body},
		{"W1 not hex", bodyVerifier(newSecret), signed(strings.Repeat("g", 64)), body},
		{"W1 base64 of both alphabets", bodyVerifier(newSecret), signed(strings.Repeat("-+", 22)[:43]), body},
		{"W1 base64 with loose bits at its end", bodyVerifier(newSecret), signed(loose(raw)), body},
		{"W1 base64 with a line break", bodyVerifier(newSecret), signed("\n" + base64.RawStdEncoding.EncodeToString(raw) + "\n="), body},
		{"W1 base64, padded twice", bodyVerifier(newSecret), signed(base64.StdEncoding.EncodeToString(raw) + "="), body},
		{"W1 prefix twice", bodyVerifier(newSecret), signed("sha256=sha256=" + signature), body},
		{"W1 prefix of another algorithm", bodyVerifier(newSecret), signed("sha1=" + signature), body},
		{"W1 HMAC-SHA1", bodyVerifier(newSecret), signed("sha1=" + hex.EncodeToString(short.Sum(nil))), body},
		{"W1 a list of schemes", bodyVerifier(newSecret), signed("t=1,v1=" + signature), body},
		{"W1 two values", bodyVerifier(newSecret), twice, body},
		{"W1 two values in one line", bodyVerifier(newSecret), signed(signature + ", " + signature), body},
		{"W1 a header whose name is not canonical", bodyVerifier(newSecret), http.Header{"x-axra-signature": {signature}}, body},
		{"W1 wrong secret", bodyVerifier(newSecret), signed(sum("bs_test_guessed", body)), body},
		{"W1 a secret with a newline", bodyVerifier(newSecret), signed(sum(newSecret+"\n", body)), body},
		{"W1 a hash without a secret", bodyVerifier(newSecret), signed(hex.EncodeToString(plain[:])), body},
		{"W1 signature of another body", bodyVerifier(newSecret), signed(sum(newSecret, "{}")), body},

		{"W2 no secret", bodyVerifier(), signed(sum("", body)), body},
		{"W2 an empty secret", bodyVerifier(""), signed(sum("", body)), body},
		{"W2 an empty secret beside a good one", bodyVerifier("", newSecret), signed(sum("", body)), body},
		{"W2 a verifier without anything", Verifier{}, signed(sum("", body)), body},

		{"W3 the old secret after the rotation", bodyVerifier(newSecret), signed(sum(oldSecret, body)), body},

		{"W4 a byte order mark", bodyVerifier(newSecret), signed(signature), "\ufeff" + body},
		{"W4 a newline at the end", bodyVerifier(newSecret), signed(signature), body + "\n"},
		{"W4 keys reordered", bodyVerifier(newSecret), signed(signature),
			`{"timestamp":"2025-06-01T12:00:00Z","event":"payment.completed","data":{"amount":5.00,"currency":"USD"}}`},
		{"W4 the same number, written otherwise", bodyVerifier(newSecret), signed(signature), strings.Replace(body, "5.00", "5.0", 1)},
		{"W4 an empty body", bodyVerifier(newSecret), signed(signature), ""},

		{"timestamp missing", timestampVerifier(newSecret), signed(stamped), body},
		{"timestamp empty", timestampVerifier(newSecret), signedAt(sum(newSecret, "."+body), ""), body},
		{"timestamp repeated", timestampVerifier(newSecret), twoStamps, body},
		{"timestamp changed", timestampVerifier(newSecret), signedAt(stamped, "2025-06-01T12:00:01.123Z"), body},
		{"timestamp too long", timestampVerifier(newSecret), signedAt(sum(newSecret, long+"."+body), long), body},
		{"timestamp not signed", timestampVerifier(newSecret), signedAt(signature, sentAt), body},
		{"timestamp joined without a dot", timestampVerifier(newSecret), signedAt(sum(newSecret, sentAt+body), sentAt), body},
		{"timestamp that is a part of the body", timestampVerifier(newSecret), signedAt(sum(newSecret, `{"a":1.5}`), `{"a":1`), `5}`},
		{"timestamp signed, but not asked for", bodyVerifier(newSecret), signedAt(stamped, sentAt), body},
	})
}

func TestW4AnyChangedBitOfTheBodyIsRefused(t *testing.T) {
	header := signed(sum(newSecret, string(paidBody)))
	for i := range paidBody {
		for bit := range 8 {
			body := bytes.Clone(paidBody)
			body[i] ^= 1 << bit
			if err := bodyVerifier(newSecret, oldSecret).Verify(header, body); !errors.Is(err, ErrSignature) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
}

func TestW1AnyChangedDigitOfTheSignatureIsRefused(t *testing.T) {
	good := sum(newSecret, string(paidBody))
	for i := range good {
		for _, digit := range "0123456789abcdef" {
			changed := good[:i] + string(digit) + good[i+1:]
			if err := bodyVerifier(newSecret).Verify(signed(changed), paidBody); (err == nil) != (changed == good) {
				t.Fatalf("%s: %v", changed, err)
			}
		}
	}
}
