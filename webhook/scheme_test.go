package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The example of github.com/standard-webhooks: its secret, and its signature.
const (
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	standardID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	standardAt     = "1614265330"
	standardBody   = `{"test": 2432232314}`
	standardMAC    = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func prepared(t testing.TB, v Verifier, secrets ...string) Verifier {
	t.Helper()
	for _, secret := range secrets {
		v.Secrets = append(v.Secrets, []byte(secret))
	}
	v, err := v.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func standardHeader(id, timestamp, signature string) http.Header {
	return http.Header{StandardIDHeader: {id}, StandardTimestampHeader: {timestamp}, StandardHeader: {signature}}
}

func TestSignaturesOfOtherSchemesAreAccepted(t *testing.T) {
	body := string(paidBody)
	const unix = "1748779200"
	pairsV := prepared(t, Verifier{Scheme: SchemeTimestampV1}, newSecret)
	standard := prepared(t, Verifier{Scheme: SchemeStandard}, standardSecret)
	plain := prepared(t, Verifier{Scheme: SchemeStandard}, newSecret)
	mac := sum(newSecret, unix+"."+body)
	key := "\x00\x01binary key\xff"
	own := inBase64(base64.StdEncoding, sum(newSecret, "id_1."+unix+"."+body))
	seven := strings.Repeat("v1="+strings.Repeat("0", 64)+",", 7)

	wantAccepted(t, []delivery{
		{"t,v1", pairsV, signed("t=" + unix + ",v1=" + mac), body},
		{"t,v1 in another order, with others", pairsV, signed("v0=1,v1=" + mac + ",scheme=x,t=" + unix), body},
		{"t,v1 with spaces", pairsV, signed("t=" + unix + ", v1=" + mac), body},
		{"t,v1 in base64", pairsV, signed("t=" + unix + ",v1=" + inBase64(base64.StdEncoding, mac)), body},
		{"W3 t,v1 of two secrets", pairsV, signed("t=" + unix + ",v1=" + sum(oldSecret, unix+"."+body) + ",v1=" + mac), body},
		{"W3 t,v1 the old secret", prepared(t, Verifier{Scheme: SchemeTimestampV1}, newSecret, oldSecret), signed("t=" + unix + ",v1=" + sum(oldSecret, unix+"."+body)), body},
		{"t,v1 as many as there may be", pairsV, signed(seven + "v1=" + mac + ",t=" + unix), body},
		{"t,v1 one of another kind", pairsV, signed("t=" + unix + ",v1=abc,v1=" + mac), body},

		{"standard webhooks' own example", standard, standardHeader(standardID, standardAt, "v1,"+standardMAC), standardBody},
		{"standard webhooks with other versions", standard, standardHeader(standardID, standardAt, "v1a,xyz v2,"+standardMAC+" v1,"+standardMAC), standardBody},
		{"W3 standard webhooks, several", standard, standardHeader(standardID, standardAt, "v1,"+inBase64(base64.StdEncoding, mac)+" v1,"+standardMAC), standardBody},
		{"standard webhooks with a plain secret", plain, standardHeader("id_1", unix, "v1,"+own), body},
		{"standard webhooks, the secret as it is written", standard,
			standardHeader("id_1", unix, "v1,"+inBase64(base64.StdEncoding, sum(standardSecret, "id_1."+unix+"."+body))), body},
		{"standard webhooks under other names", prepared(t, Verifier{Scheme: SchemeStandard, Header: "Svix-Signature", TimestampHeader: "svix-timestamp", IDHeader: "svix-id"}, standardSecret),
			http.Header{"Svix-Signature": {"v1," + standardMAC}, "Svix-Timestamp": {standardAt}, "Svix-Id": {standardID}}, standardBody},

		{"a secret in hex", prepared(t, Verifier{SecretEncoding: EncodingHex}, hex.EncodeToString([]byte(key))), signed(sum(key, body)), body},
		{"a secret in base64", prepared(t, Verifier{SecretEncoding: EncodingBase64}, base64.RawURLEncoding.EncodeToString([]byte(key))), signed(sum(key, body)), body},
		{"a secret in base64 with its mark", prepared(t, Verifier{SecretEncoding: EncodingBase64}, "whsec_"+base64.StdEncoding.EncodeToString([]byte(key))), signed(sum(key, body)), body},
	})
}

func TestForgedSignaturesOfOtherSchemesAreRefused(t *testing.T) {
	body := string(paidBody)
	const unix = "1748779200"
	pairsV := prepared(t, Verifier{Scheme: SchemeTimestampV1}, newSecret)
	standard := prepared(t, Verifier{Scheme: SchemeStandard}, standardSecret)
	mac := sum(newSecret, unix+"."+body)
	good := "t=" + unix + ",v1=" + mac
	zeros := "v1=" + strings.Repeat("0", 64) + ","
	twice := standardHeader(standardID, standardAt, "v1,"+standardMAC)
	twice.Add(StandardIDHeader, standardID)
	without := func(name string) http.Header {
		header := standardHeader(standardID, standardAt, "v1,"+standardMAC)
		header.Del(name)
		return header
	}

	wantRefused(t, []delivery{
		{"W1 t,v1 without a time", pairsV, signed("v1=" + mac), body},
		{"W1 t,v1 with an empty time", pairsV, signed("t=,v1=" + sum(newSecret, "."+body)), body},
		{"W1 t,v1 with two times", pairsV, signed("t=1," + good), body},
		{"W1 t,v1 with a time of words", pairsV, signed("t=now,v1=" + sum(newSecret, "now."+body)), body},
		{"W1 t,v1 with a long time", pairsV, signed("t=" + strings.Repeat("1", 257) + ",v1=" + sum(newSecret, strings.Repeat("1", 257)+"."+body)), body},
		{"W1 t,v1 without a signature", pairsV, signed("t=" + unix), body},
		{"W1 t,v1 in another version", pairsV, signed("t=" + unix + ",v0=" + mac), body},
		{"W1 t,v1 of the body alone", pairsV, signed("t=" + unix + ",v1=" + sum(newSecret, body)), body},
		{"W1 t,v1 of another time", pairsV, signed("t=1748779201,v1=" + mac), body},
		{"W1 t,v1 with too many signatures", pairsV, signed(strings.Repeat(zeros, 8) + good), body},
		{"W1 t,v1 too long", pairsV, signed(good + strings.Repeat(",v0=x", 500)), body},
		{"W2 t,v1 of an empty secret", prepared(t, Verifier{Scheme: SchemeTimestampV1}, ""), signed("t=" + unix + ",v1=" + sum("", unix+"."+body)), body},
		{"W1 t,v1 where the body alone is asked for", bodyVerifier(newSecret), signed(good), body},

		{"W1 standard: no id", standard, without(StandardIDHeader), standardBody},
		{"W1 standard: no time", standard, without(StandardTimestampHeader), standardBody},
		{"W1 standard: id repeated", standard, twice, standardBody},
		{"W1 standard: another id", standard, standardHeader("msg_2", standardAt, "v1,"+standardMAC), standardBody},
		{"W1 standard: another time", standard, standardHeader(standardID, "1614265331", "v1,"+standardMAC), standardBody},
		{"W1 standard: another version", standard, standardHeader(standardID, standardAt, "v2,"+standardMAC), standardBody},
		{"W1 standard: no version", standard, standardHeader(standardID, standardAt, standardMAC), standardBody},
		{"W1 standard: too many", standard, standardHeader(standardID, standardAt, strings.Repeat("v1,"+strings.Repeat("0", 64)+" ", 8)+"v1,"+standardMAC), standardBody},
		{"W1 standard: a long id", standard, standardHeader(strings.Repeat("a", 257), standardAt, "v1,"+inBase64(base64.StdEncoding, sum(standardSecret, strings.Repeat("a", 257)+"."+standardAt+"."+standardBody))), standardBody},
		{"W1 standard: an id that is a part of the body", standard, standardHeader(`{"a":1`, standardAt, "v1,"+inBase64(base64.StdEncoding, sum(standardSecret, `{"a":1.`+standardAt+"."+standardBody))), standardBody},
		{"W4 standard: a changed body", standard, standardHeader(standardID, standardAt, "v1,"+standardMAC), `{"test": 2432232315}`},

		{"W1 signed with what a secret in hex is written as", prepared(t, Verifier{SecretEncoding: EncodingHex}, "00ff"), signed(sum("00ff", body)), body},
		{"W1 signed with what a secret is decoded to", prepared(t, Verifier{}, "00ff"), signed(sum("\x00\xff", body)), body},
	})
}

func TestAVerifierThatCannotVerifyIsRefused(t *testing.T) {
	for _, test := range []struct {
		name     string
		verifier Verifier
		want     error
		words    string
	}{
		{"scheme", Verifier{Scheme: "hex"}, ErrScheme, `unknown signature scheme "hex": write one of ["body" "timestamp.body" "t,v1" "standard_webhooks"]`},
		{"encoding", Verifier{SecretEncoding: "rot13"}, ErrSecretEncoding, `secret encoding "rot13" is unknown: write one of ["hex" "base64"]`},
		{"no hex", Verifier{SecretEncoding: EncodingHex, Secrets: [][]byte{[]byte("01"), []byte("planted")}}, ErrSecretEncoding, "secret encoding: secret 2 is not hex: correct it, or leave out secret_encoding"},
		{"no base64", Verifier{SecretEncoding: EncodingBase64, Secrets: [][]byte{[]byte("planted!")}}, ErrSecretEncoding, "secret 1 is not base64"},
		{"W2 zeros are no key", Verifier{SecretEncoding: EncodingHex, Secrets: [][]byte{[]byte("0000")}}, ErrSecretEncoding, "secret 1 is not hex"},
		{"W2 only a prefix", Verifier{Scheme: SchemeStandard, Secrets: [][]byte{[]byte("whsec_")}}, ErrSecretEncoding, "secret 1 is not complete"},
		{"W2 empty when decoded", Verifier{SecretEncoding: EncodingBase64, Secrets: [][]byte{[]byte("whsec_")}}, ErrSecretEncoding, "secret 1 is not base64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.verifier.Prepare()
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.words) || strings.Contains(err.Error(), "planted") {
				t.Errorf("%v", err)
			}
		})
	}
}

// FuzzVerify: a body is accepted exactly if an HMAC of our own making stands where the
// scheme has it.
func FuzzVerify(f *testing.F) {
	signature := sum(newSecret, string(paidBody))
	f.Add(signature, "", "", paidBody)
	f.Add("sha256="+signature, sentAt, "id", paidBody)
	f.Add(inBase64(base64.StdEncoding, sum(newSecret, sentAt+"."+string(paidBody))), sentAt, "", paidBody)
	f.Add(sum(oldSecret, "."), "", "", []byte{})
	f.Add(sum("", string(paidBody)), "", "", paidBody)
	f.Add(strings.ToUpper(signature), "", "", append([]byte("\ufeff"), paidBody...))
	f.Add("t=1748779200,v1="+sum(newSecret, "1748779200."+string(paidBody)), "", "", paidBody)
	f.Add("v1,"+inBase64(base64.StdEncoding, sum(oldSecret, "msg_1.1748779200."+string(paidBody)))+" v1a,x", "1748779200", "msg_1", paidBody)
	f.Fuzz(func(t *testing.T, value, timestamp, id string, body []byte) {
		for _, scheme := range Schemes {
			v := prepared(t, Verifier{Scheme: scheme, Header: DefaultHeader, TimestampHeader: DefaultTimestampHeader}, newSecret, oldSecret, "")
			header := http.Header{DefaultHeader: {value}, DefaultTimestampHeader: {timestamp}, StandardIDHeader: {id}}
			err := v.Verify(header, body)
			if err != nil && !errors.Is(err, ErrSignature) {
				t.Fatal(err)
			}
			prefix, genuine, possible := signedAs(scheme, timestamp, id)
			if err == nil && !carries(value, timestamp, id, body, scheme) {
				t.Fatalf("scheme %s: %q passes", scheme, value)
			}
			if !possible {
				continue
			}
			header.Set(DefaultHeader, genuine(sum(oldSecret, prefix+string(body))))
			if err := v.Verify(header, body); err != nil {
				t.Fatalf("scheme %s: a genuine signature: %v", scheme, err)
			}
			if v.Verify(header, append(bytes.Clone(body), 0)) == nil {
				t.Fatalf("scheme %s: a longer body passes", scheme)
			}
		}
	})
}

// signedAs says what a scheme signs before the body, and how the header is written.
func signedAs(scheme, timestamp, id string) (prefix string, write func(string) string, possible bool) {
	switch scheme {
	case SchemeTimestampBody:
		return timestamp + ".", func(mac string) string { return mac }, plain(timestamp, 64)
	case SchemeTimestampV1:
		return "1748779200.", func(mac string) string { return "v1=" + mac + ",t=1748779200" }, true
	case SchemeStandard:
		return id + "." + timestamp + ".", func(mac string) string { return "v1," + inBase64(base64.RawURLEncoding, mac) }, plain(timestamp, 64) && plain(id, 256)
	}
	return "", func(mac string) string { return mac }, true
}

func plain(value string, limit int) bool {
	return value != "" && len(value) <= limit && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+, ") == ""
}

// carries looks for a MAC of ours anywhere in the value, in any spelling.
func carries(value, timestamp, id string, body []byte, scheme string) bool {
	prefix, _, possible := signedAs(scheme, timestamp, id)
	prefixes := []string{prefix}
	if scheme == SchemeTimestampV1 {
		prefixes, possible = nil, true
		for _, part := range strings.Split(value, ",") {
			if at, found := strings.CutPrefix(strings.TrimSpace(part), "t="); found {
				prefixes = append(prefixes, at+".")
			}
		}
		if len(prefixes) != 1 {
			return false
		}
	}
	return possible && slices.ContainsFunc(prefixes, func(prefix string) bool {
		for _, secret := range []string{newSecret, oldSecret} {
			mac := sum(secret, prefix+string(body))
			std := inBase64(base64.RawStdEncoding, mac)
			if strings.Contains(strings.ToLower(value), mac) || strings.Contains(value, std) || strings.Contains(value, inBase64(base64.RawURLEncoding, mac)) {
				return true
			}
		}
		return false
	})
}
