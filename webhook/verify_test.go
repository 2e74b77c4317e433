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

func TestGenuineSignaturesAreAccepted(t *testing.T) {
	signature := sum(newSecret, string(paidBody))
	stamped := sum(newSecret, sentAt+"."+string(paidBody))
	custom := bodyVerifier(newSecret)
	custom.Header = "Axra-Signature-V2"
	customStamp := timestampVerifier(newSecret)
	customStamp.TimestampHeader = "Axra-Sent"
	for _, test := range []struct {
		name     string
		verifier Verifier
		header   http.Header
		body     []byte
	}{
		{"hex", bodyVerifier(newSecret), signed(signature), paidBody},
		{"hex in upper case", bodyVerifier(newSecret), signed(strings.ToUpper(signature)), paidBody},
		{"with its prefix", bodyVerifier(newSecret), signed("sha256=" + signature), paidBody},
		{"with spaces around", bodyVerifier(newSecret), signed(" " + signature + "\t"), paidBody},
		{"header of another name", custom, http.Header{"Axra-Signature-V2": {signature}}, paidBody},
		{"an empty body", bodyVerifier(newSecret), signed(sum(newSecret, "")), nil},
		{"a body of any bytes", bodyVerifier(newSecret), signed(sum(newSecret, "\x00\xff\n")), []byte("\x00\xff\n")},
		{"W3 the new secret, named first", bodyVerifier(newSecret, oldSecret), signed(signature), paidBody},
		{"W3 the new secret, named last", bodyVerifier(oldSecret, newSecret), signed(signature), paidBody},
		{"W3 the old secret", bodyVerifier(newSecret, oldSecret), signed(sum(oldSecret, string(paidBody))), paidBody},
		{"W3 the same secret twice", bodyVerifier(newSecret, newSecret), signed(signature), paidBody},
		{"W2 beside an empty secret", bodyVerifier("", newSecret), signed(signature), paidBody},
		{"base64", bodyVerifier(newSecret), signed(inBase64(base64.StdEncoding, signature)), paidBody},
		{"base64 without padding", bodyVerifier(newSecret), signed(inBase64(base64.RawStdEncoding, signature)), paidBody},
		{"base64 for addresses", bodyVerifier(newSecret), signed(inBase64(base64.URLEncoding, signature)), paidBody},
		{"base64 for addresses, without padding, with a prefix", bodyVerifier(newSecret), signed("sha256=" + inBase64(base64.RawURLEncoding, signature)), paidBody},
		{"a timestamp and base64", timestampVerifier(newSecret), signedAt(inBase64(base64.StdEncoding, stamped), sentAt), paidBody},
		{"a timestamp in ISO 8601", timestampVerifier(newSecret), signedAt(stamped, sentAt), paidBody},
		{"a timestamp, with its prefix", timestampVerifier(newSecret), signedAt("sha256="+stamped, sentAt), paidBody},
		{"a Unix timestamp", timestampVerifier(newSecret), signedAt(sum(newSecret, "1748779200."+string(paidBody)), "1748779200"), paidBody},
		{"a timestamp of last year", timestampVerifier(newSecret), signedAt(sum(newSecret, "1700000000."+string(paidBody)), "1700000000"), paidBody},
		{"W3 a timestamp and the old secret", timestampVerifier(newSecret, oldSecret), signedAt(sum(oldSecret, sentAt+"."+string(paidBody)), sentAt), paidBody},
		{"a timestamp header of another name", customStamp, http.Header{DefaultHeader: {stamped}, "Axra-Sent": {sentAt}}, paidBody},
		{"a timestamp that the scheme does not use", bodyVerifier(newSecret), signedAt(signature, sentAt), paidBody},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.verifier.Verify(test.header, test.body); err != nil {
				t.Error(err)
			}
		})
	}
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
	firstWrong := http.Header{DefaultHeader: {strings.Repeat("0", 64), signature}}
	twoStamps := signedAt(stamped, sentAt)
	twoStamps.Add(DefaultTimestampHeader, sentAt)
	long := strings.Repeat("1", maxText+1)

	for _, test := range []struct {
		name     string
		verifier Verifier
		header   http.Header
		body     string
	}{
		{"W1 no signature", bodyVerifier(newSecret), http.Header{}, body},
		{"W1 no header at all", bodyVerifier(newSecret), nil, body},
		{"W1 an empty signature", bodyVerifier(newSecret), signed(""), body},
		{"W1 a prefix only", bodyVerifier(newSecret), signed("sha256="), body},
		{"W1 truncated by one", bodyVerifier(newSecret), signed(signature[:63]), body},
		{"W1 truncated by a byte", bodyVerifier(newSecret), signed(signature[:62]), body},
		{"W1 truncated to half", bodyVerifier(newSecret), signed(signature[:32]), body},
		{"W1 one digit too many", bodyVerifier(newSecret), signed(signature + "0"), body},
		{"W1 64 KB", bodyVerifier(newSecret), signed(strings.Repeat(signature, 1024)), body},
		{"W1 not hex", bodyVerifier(newSecret), signed(strings.Repeat("g", 64)), body},
		{"W1 zeros", bodyVerifier(newSecret), signed(strings.Repeat("0", 64)), body},
		{"W1 base64 of the hex digits", bodyVerifier(newSecret), signed(base64.StdEncoding.EncodeToString([]byte(signature))), body},
		{"W1 base64 of both alphabets", bodyVerifier(newSecret), signed(strings.Repeat("-+", 22)[:43]), body},
		{"W1 base64 with loose bits at its end", bodyVerifier(newSecret), signed(loose(raw)), body},
		{"W1 base64 with a line break", bodyVerifier(newSecret), signed("\n" + base64.RawStdEncoding.EncodeToString(raw) + "\n="), body},
		{"W1 base64, padded twice", bodyVerifier(newSecret), signed(base64.StdEncoding.EncodeToString(raw) + "="), body},
		{"W1 raw bytes", bodyVerifier(newSecret), signed(string(raw)), body},
		{"W1 prefix twice", bodyVerifier(newSecret), signed("sha256=sha256=" + signature), body},
		{"W1 prefix of another algorithm", bodyVerifier(newSecret), signed("sha1=" + signature), body},
		{"W1 HMAC-SHA1", bodyVerifier(newSecret), signed("sha1=" + hex.EncodeToString(short.Sum(nil))), body},
		{"W1 a list of schemes", bodyVerifier(newSecret), signed("t=1,v1=" + signature), body},
		{"W1 two values", bodyVerifier(newSecret), twice, body},
		{"W1 a wrong value and a right one", bodyVerifier(newSecret), firstWrong, body},
		{"W1 two values in one line", bodyVerifier(newSecret), signed(signature + ", " + signature), body},
		{"W1 a header whose name is not canonical", bodyVerifier(newSecret), http.Header{"x-axra-signature": {signature}}, body},
		{"W1 wrong secret", bodyVerifier(newSecret), signed(sum("bs_test_guessed", body)), body},
		{"W1 a secret with a newline", bodyVerifier(newSecret), signed(sum(newSecret+"\n", body)), body},
		{"W1 a hash without a secret", bodyVerifier(newSecret), signed(hex.EncodeToString(plain[:])), body},
		{"W1 signature of another body", bodyVerifier(newSecret), signed(sum(newSecret, "{}")), body},
		{"W1 signature of no body", bodyVerifier(newSecret), signed(sum(newSecret, "")), body},

		{"W2 no secret", bodyVerifier(), signed(sum("", body)), body},
		{"W2 an empty secret", bodyVerifier(""), signed(sum("", body)), body},
		{"W2 an empty secret beside a good one", bodyVerifier("", newSecret), signed(sum("", body)), body},
		{"W2 an empty secret, with a timestamp", timestampVerifier(""), signedAt(sum("", sentAt+"."+body), sentAt), body},
		{"W2 a verifier without anything", Verifier{}, signed(sum("", body)), body},

		{"W3 the old secret after the rotation", bodyVerifier(newSecret), signed(sum(oldSecret, body)), body},
		{"W3 both secrets joined", bodyVerifier(newSecret, oldSecret), signed(sum(newSecret+oldSecret, body)), body},

		{"W4 a byte order mark", bodyVerifier(newSecret), signed(signature), "\ufeff" + body},
		{"W4 a newline at the end", bodyVerifier(newSecret), signed(signature), body + "\n"},
		{"W4 a space within", bodyVerifier(newSecret), signed(signature), strings.Replace(body, ":", ": ", 1)},
		{"W4 keys reordered", bodyVerifier(newSecret), signed(signature),
			`{"timestamp":"2025-06-01T12:00:00Z","event":"payment.completed","data":{"amount":5.00,"currency":"USD"}}`},
		{"W4 the same number, written otherwise", bodyVerifier(newSecret), signed(signature), strings.Replace(body, "5.00", "5.0", 1)},
		{"W4 the body twice", bodyVerifier(newSecret), signed(signature), body + body},
		{"W4 an empty body", bodyVerifier(newSecret), signed(signature), ""},

		{"timestamp missing", timestampVerifier(newSecret), signed(stamped), body},
		{"timestamp missing, body signed", timestampVerifier(newSecret), signed(signature), body},
		{"timestamp empty", timestampVerifier(newSecret), signedAt(sum(newSecret, "."+body), ""), body},
		{"timestamp repeated", timestampVerifier(newSecret), twoStamps, body},
		{"timestamp changed", timestampVerifier(newSecret), signedAt(stamped, "2025-06-01T12:00:01.123Z"), body},
		{"timestamp too long", timestampVerifier(newSecret), signedAt(sum(newSecret, long+"."+body), long), body},
		{"timestamp not signed", timestampVerifier(newSecret), signedAt(signature, sentAt), body},
		{"timestamp joined without a dot", timestampVerifier(newSecret), signedAt(sum(newSecret, sentAt+body), sentAt), body},
		{"timestamp that is a part of the body", timestampVerifier(newSecret), signedAt(sum(newSecret, `{"a":1.5}`), `{"a":1`), `5}`},
		{"timestamp signed, but not asked for", bodyVerifier(newSecret), signedAt(stamped, sentAt), body},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.verifier.Verify(test.header, []byte(test.body))
			if !errors.Is(err, ErrSignature) {
				t.Fatalf("got %v, want %v", err, ErrSignature)
			}
			for _, secret := range []string{newSecret, oldSecret, signature, stamped} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes what would help a forger: %v", err)
				}
			}
		})
	}
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
