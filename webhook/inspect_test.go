package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const unixTime = "1748779200"

func macOf(algorithm func() hash.Hash, secret, message string) string {
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// lines are options as they stand in a Caddyfile.
func lines(fit Fit) string {
	var all []string
	for _, option := range fit.Options() {
		all = append(all, option.Name+" "+option.Value)
	}
	return strings.Join(all, "; ")
}

func TestWhatFitsIsFound(t *testing.T) {
	body := string(paidBody)
	inHex := hex.EncodeToString([]byte("binary key"))
	std := func(digits string) string { return inBase64(base64.StdEncoding, digits) }
	for _, test := range []struct {
		name   string
		header http.Header
		secret string
		want   string // the options, separated
	}{
		{"the default", http.Header{DefaultHeader: {sum(newSecret, body)}}, newSecret, ""},
		{"the default, with a prefix", http.Header{DefaultHeader: {"sha256=" + sum(newSecret, body)}}, newSecret, ""},
		{"another header", http.Header{"Axra-Sig": {std(sum(newSecret, body))}}, newSecret, "header Axra-Sig"},
		{"a time", http.Header{DefaultHeader: {sum(newSecret, sentAt+"."+body)}, DefaultTimestampHeader: {sentAt}}, newSecret, "scheme timestamp.body"},
		{"a time under another name", http.Header{"X-Sig": {std(sum(newSecret, unixTime+"."+body))}, "X-Sent": {unixTime}, "Date": {"Sun, 01 Jun 2025 12:00:00 GMT"}}, newSecret,
			"header X-Sig; scheme timestamp.body; timestamp_header X-Sent"},
		{"pairs", http.Header{"Axra-Signature": {"t=" + unixTime + ",v1=" + sum(newSecret, unixTime+"."+body)}}, newSecret, "header Axra-Signature; scheme t,v1"},
		{"standard webhooks", standardHeader("msg_1", unixTime, "v1,"+std(sum(newSecret, "msg_1."+unixTime+"."+body))), newSecret, "scheme standard_webhooks"},
		{"standard webhooks, its own secret", standardHeader("msg_1", unixTime, "v1,"+std(sum("binary key", "msg_1."+unixTime+"."+body))), "whsec_" + std(inHex), "scheme standard_webhooks"},
		{"standard webhooks under other names",
			http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {unixTime}, "Svix-Signature": {"v1a,x v1," + std(sum(newSecret, "msg_1."+unixTime+"."+body))}}, newSecret,
			"header Svix-Signature; scheme standard_webhooks; timestamp_header Svix-Timestamp; id_header Svix-Id"},
		{"a secret in hex", http.Header{DefaultHeader: {sum("binary key", body)}}, inHex, "secret_encoding hex"},
		{"a secret in base64", http.Header{DefaultHeader: {sum("binary key", body)}}, "whsec_" + std(inHex), "secret_encoding base64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.header.Set("X-Request-Id", "0af7651916cd43dd8448eb211c80319c")
			test.header.Set("Content-Length", "108")
			fits, _ := Inspect(test.header, []Body{{Bytes: paidBody}}, [][]byte{[]byte("another"), []byte(test.secret)})
			if len(fits) == 0 || !fits[0].Known || fits[0].Secret != 1 {
				t.Fatalf("found %+v", fits)
			}
			if got := lines(fits[0]); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			f := fits[0]
			verifier, err := Verifier{
				Secrets: [][]byte{[]byte(test.secret)}, Header: f.Header, Scheme: f.Scheme,
				TimestampHeader: f.TimestampHeader, IDHeader: f.IDHeader, SecretEncoding: f.SecretEncoding,
			}.Prepare()
			if err != nil || verifier.Verify(test.header, paidBody) != nil {
				t.Errorf("what was found does not verify: %v", err)
			}
		})
	}
}

func TestWhatCannotBeVerifiedIsNamed(t *testing.T) {
	body := string(paidBody)
	for _, test := range []struct {
		name                       string
		header                     http.Header
		algorithm, scheme, carrier string
	}{
		{"SHA-512", http.Header{"X-Sig": {macOf(sha512.New, newSecret, body)}}, "HMAC-SHA512", "the body", "X-Sig"},
		{"SHA-1", http.Header{"X-Sig": {"sha1=" + macOf(sha1.New, newSecret, body)}}, "HMAC-SHA1", "the body", "X-Sig"},
		{"SHA-384", http.Header{"X-Sig": {macOf(sha512.New384, newSecret, body)}}, "HMAC-SHA384", "the body", "X-Sig"},
		{"a colon", http.Header{"X-Sig": {"ts=" + unixTime + ";h1=" + sum(newSecret, unixTime+":"+body)}}, "HMAC-SHA256", "the time within the header, a colon and the body", "X-Sig"},
		{"joined", http.Header{"X-Sig": {sum(newSecret, unixTime+body)}, "X-Time": {unixTime}}, "HMAC-SHA256", "the timestamp header and the body", "X-Sig"},
		{"pairs of SHA-512", http.Header{"X-Sig": {"t=" + unixTime + ",v1=" + macOf(sha512.New, newSecret, unixTime+"."+body)}}, "HMAC-SHA512", "the time within the header, a dot and the body", "X-Sig"},
		{"an id, SHA-512", standardHeader("m", unixTime, "v1,"+macOf(sha512.New, newSecret, "m."+unixTime+"."+body)), "HMAC-SHA512",
			"the header Webhook-Id, the timestamp header and the body, with dots between", StandardHeader},
		{"the secret itself", http.Header{"Verif-Hash": {newSecret}}, "", "the secret itself", "Verif-Hash"},
		{"the secret itself, masked", http.Header{"Verif-Hash": {maskedSecret}}, "", "the secret itself", "Verif-Hash"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fits, _ := Inspect(test.header, []Body{{Bytes: paidBody}}, [][]byte{[]byte(newSecret)})
			if len(fits) != 1 || fits[0].Known || len(fits[0].Options()) > 0 {
				t.Fatalf("found %+v", fits)
			}
			if f := fits[0]; f.Algorithm != test.algorithm || f.Scheme != test.scheme || f.Header != test.carrier {
				t.Errorf("found %+v", f)
			}
		})
	}
}

func TestWhatDoesNotFitIsNotFound(t *testing.T) {
	body := string(paidBody)
	for name, header := range map[string]http.Header{
		"nothing":          {},
		"another secret":   {DefaultHeader: {sum(oldSecret, body)}},
		"another body":     {DefaultHeader: {sum(newSecret, body+" ")}},
		"an empty secret":  {DefaultHeader: {sum("", body)}},
		"in Authorization": {"Authorization": {sum(newSecret, body)}},
		"repeated":         {DefaultHeader: {sum(newSecret, body), sum(newSecret, body)}},
		"a strange name":   {"X-Sig{": {sum(newSecret, body)}},
	} {
		t.Run(name, func(t *testing.T) {
			fits, looked := Inspect(header, []Body{{Bytes: paidBody}}, [][]byte{[]byte(newSecret), {}})
			if len(fits) != 0 {
				t.Errorf("found %+v", fits)
			}
			if (name == "repeated") != slices.Contains(looked.Repeated, DefaultHeader) {
				t.Errorf("looked at %+v", looked)
			}
		})
	}
}

// Junk with very many headers must not keep the operator waiting.
func TestAnInspectionIsBounded(t *testing.T) {
	header := make(http.Header)
	for i := range 60 {
		header.Set("X-"+strings.Repeat("a", i+1), strings.Repeat("0", 64))
		header.Set("Y-"+strings.Repeat("a", i+1), unixTime)
	}
	header.Set("X-Zz-Signature", sum(newSecret, string(paidBody)))
	search := newSearch(header, [][]byte{[]byte(newSecret)})
	if n := len(search.verifiers()); n > maxTried*(2+maxTried+maxTried*maxTried) {
		t.Errorf("%d ways are tried", n)
	}
	if fits := search.known(paidBody, 0); len(fits) != 1 || fits[0].Header != "X-Zz-Signature" {
		t.Errorf("found %+v", fits)
	}
}

func TestACapturedRequestIsRead(t *testing.T) {
	signature := sum(newSecret, string(paidBody))
	head := "POST /hooks HTTP/1.1\nHost: example.com\nX-Axra-Signature: " + signature + "\n"
	chunked := "3\r\n" + string(paidBody[:3]) + "\r\n65\r\n" + string(paidBody[3:]) + "\r\n0\r\n\r\n"
	if len(paidBody)-3 != 0x65 {
		t.Fatalf("the chunk is %x", len(paidBody)-3)
	}
	jsonForm, err := json.Marshal(Captured{Header: http.Header{"x-axra-signature": {signature}}, Body: paidBody})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, raw, note string }{
		{"LF", head + "\n" + string(paidBody), ""},
		{"CRLF", strings.ReplaceAll(head, "\n", "\r\n") + "\r\n" + string(paidBody), ""},
		{"a byte order mark", "\ufeff" + head + "\n" + string(paidBody), ""},
		{"without a request line", strings.SplitN(head, "\n", 2)[1] + "\n" + string(paidBody), ""},
		{"an editor's line break", head + "Content-Length: 104\n\n" + string(paidBody) + "\n", "cut to its Content-Length"},
		{"an editor's line break, without a length", head + "\n" + string(paidBody) + "\r\n", "without the line break at its end, which an editor may have added"},
		{"chunks", head + "Transfer-Encoding: chunked\n\n" + chunked, "without the sizes of its chunks"},
		{"JSON", string(jsonForm), ""},
		{"a list in JSON", "[" + string(jsonForm) + "]", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			requests, err := ReadCaptured([]byte(test.raw))
			if err != nil || len(requests) != 1 {
				t.Fatalf("%d requests, %v", len(requests), err)
			}
			bodies := requests[0].Bodies()
			fits, _ := Inspect(requests[0].Header, bodies, [][]byte{[]byte(newSecret)})
			if len(fits) != 1 || bodies[fits[0].Body].Note != test.note {
				t.Fatalf("found %+v among %q", fits, bodies)
			}
		})
	}
	t.Run("a body that ended in a line break", func(t *testing.T) {
		requests, err := ReadCaptured([]byte("X-Axra-Signature: " + sum(newSecret, "{}\n") + "\nContent-Length: 3\n\n{}"))
		if err != nil {
			t.Fatal(err)
		}
		bodies := requests[0].Bodies()
		fits, _ := Inspect(requests[0].Header, bodies, [][]byte{[]byte(newSecret)})
		if len(fits) != 1 || !strings.Contains(bodies[fits[0].Body].Note, "may have removed") {
			t.Errorf("found %+v", fits)
		}
	})
	for name, raw := range map[string]string{
		"empty": " \n", "only a body": string(paidBody), "no empty line": head, "no headers": "hello\n\nworld", "bad JSON": `[{"headers":1}]`, "truncated JSON": "{",
	} {
		if _, err := ReadCaptured([]byte(raw)); !errors.Is(err, ErrCapture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeptRequestHoldsNoCredentials(t *testing.T) {
	const planted = "PLANTED"
	request := httptest.NewRequest(http.MethodPost, "/hooks?token="+planted, nil)
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Apikey", "X-Auth-Token", "X-Amz-Security-Token", "X-Webhook-Secret", "X-Session", "X-Password", "X-Jwt", "X-Auth", "X-Access-Key",
	} {
		request.Header.Set(name, planted)
	}
	for _, name := range []string{"Referer", "X-Forwarded-Uri"} {
		request.Header.Set(name, "/hooks?token="+planted)
	}
	request.Header.Set("Verif-Hash", "the-secret-"+planted)
	request.Header.Set("X-Long", strings.Repeat("x", maxKeptHeader+1)+planted)
	request.Header.Set("X-Token-Signature", "v1,abc")
	request.Header.Set("My-Token", "kept")
	request.Header.Set("Content-Type", "application/json")
	verifier := prepared(t, Verifier{Header: "My-Token"}, newSecret)
	kept := verifier.Capture(request, paidBody, [][]byte{[]byte("the-secret-" + planted), {}})

	var raw bytes.Buffer
	if _, err := kept.WriteTo(&raw); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{raw.String(), string(encoded)} {
		if strings.Contains(form, planted) {
			t.Errorf("it is kept: %s", form)
		}
	}
	if h := kept.Header; h.Get("X-Token-Signature") != "v1,abc" || h.Get("My-Token") != "kept" || h.Get("Content-Type") != "application/json" || h.Get("Verif-Hash") != maskedSecret {
		t.Errorf("what matters is not kept: %v", h)
	}
	if !slices.Contains(kept.Masked(), "Cookie") || slices.Contains(kept.Masked(), "My-Token") {
		t.Errorf("masked: %v", kept.Masked())
	}
	for _, form := range [][]byte{raw.Bytes(), encoded} {
		again, err := ReadCaptured(form)
		if err != nil || len(again) != 1 || !bytes.Equal(again[0].Body, paidBody) || again[0].Header.Get("X-Token-Signature") != "v1,abc" || again[0].Host != "example.com" {
			t.Errorf("read again: %+v, %v", again, err)
		}
	}
}

func TestAKeptRequestIsBounded(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "/hooks", nil)
	for i := range 500 {
		name := "X-" + strings.Repeat("a", i%50+1) + strings.Repeat("b", i/50)
		request.Header[name] = slices.Repeat([]string{strings.Repeat("x", 100)}, 50)
	}
	request.Header.Set("Z-Mac", sum(newSecret, ""))
	kept := prepared(t, Verifier{}, newSecret).Capture(request, nil, nil)
	if len(kept.Header) != maxKeptHeaders || len(kept.Header["X-A"]) > maxCandidates || kept.Header.Get("Z-Mac") == "" {
		t.Errorf("%d headers are kept: %v", len(kept.Header), kept.Header)
	}
}

func TestWhatCouldBeASignature(t *testing.T) {
	for value, want := range map[string]bool{
		sum("a", "b"):                      true,
		"sha256=" + sum("a", "b"):          true,
		"t=1,v1=" + sum("a", "b"):          true,
		"v1," + standardMAC:                true,
		macOf(sha512.New, "a", "b"):        true,
		macOf(sha1.New, "a", "b"):          true,
		"":                                 false,
		"application/json":                 false,
		"0af7651916cd43dd8448eb211c80319c": false,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": false,
		"gzip, deflate, br": false,
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": false,
		masked: false,
	} {
		if got := (Verifier{Header: DefaultHeader}).couldBeSigned(http.Header{"X-Some": {value}}); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
	if !couldBeSigned(http.Header{"X-Signature": {"some-rsa-signature-or-such"}}) || couldBeSigned(http.Header{"X-Signature": {"junk"}}) || couldBeSigned(http.Header{"Cookie": {sum("a", "b")}}) {
		t.Error("the names do not count")
	}
}

func TestAnEventIsDescribedByNames(t *testing.T) {
	described, err := Describe([]byte(`{"event":"payment.completed","timestamp":"2025-06-01T12:00:00Z","livemode":true,"data":{
		"id":"bpay_1","transactionId":"t","amount":5,"currency":null,"customer":{"email":"PLANTED"},
		"metadata":{"sessionId":"cs_1","order":"PLANTED"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, field := range described.Fields {
		found[field.Name] = strings.Join(field.Found, " ")
	}
	for name, want := range map[string]string{
		"timestamp": "timestamp", "amount": "data.amount", "currency": "", "payment id": "data.id data.transactionId",
		"session id": "data.metadata.sessionId", "metadata": "data.metadata",
	} {
		if got, ok := found[name]; !ok || got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := strings.Join(described.Others, " "); got != "data.customer data.customer.email livemode" {
		t.Errorf("others: %s", got)
	}
	if described.Session != "cs_1" || described.Payment != "bpay_1" || !described.Documented {
		t.Errorf("described as %+v", described)
	}
	if raw, err := json.Marshal(described); err != nil || strings.Contains(string(raw), "PLANTED") {
		t.Errorf("values are shown: %s, %v", raw, err)
	}
	if described, err := Describe([]byte(`{"event":"payment.completed","data":{"metadata":"x"}}`)); err != nil || slices.ContainsFunc(described.Fields, func(f Field) bool { return len(f.Found) > 0 }) {
		t.Errorf("a metadata that is no object counts: %+v, %v", described, err)
	}
	if _, err := Describe([]byte(`[]`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

// FuzzInspect: whatever a captured file holds, what is found verifies, and what is
// written is read again.
func FuzzInspect(f *testing.F) {
	f.Add([]byte("POST /x HTTP/1.1\r\nX-Axra-Signature: " + sum(newSecret, string(paidBody)) + "\r\n\r\n" + string(paidBody)))
	f.Add([]byte("Axra: t=" + unixTime + ",v1=" + sum(newSecret, unixTime+".{}") + "\n\n{}\n"))
	f.Add([]byte("Webhook-Id: m\nWebhook-Timestamp: " + unixTime + "\nWebhook-Signature: v1," + inBase64(base64.StdEncoding, sum(newSecret, "m."+unixTime+".{}")) + "\n\n{}"))
	f.Add([]byte(`[{"headers":{"a":["` + macOf(sha512.New, newSecret, "{}") + `"]},"body_base64":"e30="}]`))
	f.Add([]byte("Transfer-Encoding: chunked\nContent-Length: 1\n\n2\r\n{}\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		requests, err := ReadCaptured(raw)
		if err != nil {
			if !errors.Is(err, ErrCapture) {
				t.Fatal(err)
			}
			return
		}
		for _, request := range requests[:min(len(requests), 2)] {
			bodies := request.Bodies()
			fits, _ := Inspect(request.Header, bodies, [][]byte{[]byte(newSecret)})
			for _, fit := range fits {
				v := Verifier{
					Secrets: [][]byte{[]byte(newSecret)}, Header: fit.Header, Scheme: fit.Scheme,
					TimestampHeader: fit.TimestampHeader, IDHeader: fit.IDHeader, SecretEncoding: fit.SecretEncoding,
				}
				v, err := v.Prepare()
				if fit.Known && (err != nil || v.Verify(request.Header, bodies[fit.Body].Bytes) != nil) {
					t.Fatalf("%+v does not verify: %v", fit, err)
				}
			}
			_, _ = Describe(request.Body)
		}
	})
}
