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
	"strings"
	"testing"
)

const unixTime = "1748779200"

func macOf(algorithm func() hash.Hash, secret, message string) string {
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// verify checks a request as the options of a fit say.
func (f Fit) verify(header http.Header, body []byte, secret string) error {
	v := Verifier{Secrets: [][]byte{[]byte(secret)}}
	targets := map[string]*string{
		"header": &v.Header, "scheme": &v.Scheme, "timestamp_header": &v.TimestampHeader, "id_header": &v.IDHeader, "secret_encoding": &v.SecretEncoding,
	}
	for _, option := range f.Options {
		name, value, _ := strings.Cut(option, " ")
		*targets[name] = value
	}
	v, err := v.Prepare()
	return errors.Join(err, v.Verify(header, body))
}

func TestInspectFindsWhatAVerifierCanCheck(t *testing.T) {
	t.Parallel()
	body := string(paidBody)
	inHex := hex.EncodeToString([]byte("binary key"))
	std := func(digits string) string { return inBase64(base64.StdEncoding, digits) }
	for _, test := range []struct {
		name   string
		header http.Header
		secret string
		want   string // the options, separated
	}{
		{"the default", http.Header{DefaultHeader: {sum(newSecret, body)}}, newSecret, "header X-Axra-Signature; scheme body"},
		{"the default, with a prefix", http.Header{DefaultHeader: {"sha256=" + sum(newSecret, body)}}, newSecret, "header X-Axra-Signature; scheme body"},
		{"another header", http.Header{"Axra-Sig": {std(sum(newSecret, body))}}, newSecret, "header Axra-Sig; scheme body"},
		{"a time", http.Header{DefaultHeader: {sum(newSecret, sentAt+"."+body)}, DefaultTimestampHeader: {sentAt}}, newSecret, "header X-Axra-Signature; scheme timestamp.body; timestamp_header X-Axra-Timestamp"},
		{"a time under another name", http.Header{"X-Sig": {std(sum(newSecret, unixTime+"."+body))}, "X-Sent": {unixTime}, "Date": {"Sun, 01 Jun 2025 12:00:00 GMT"}}, newSecret,
			"header X-Sig; scheme timestamp.body; timestamp_header X-Sent"},
		{"pairs", http.Header{"Axra-Signature": {"t=" + unixTime + ",v1=" + sum(newSecret, unixTime+"."+body)}}, newSecret, "header Axra-Signature; scheme t,v1"},
		{"standard webhooks", standardHeader("msg_1", unixTime, "v1,"+std(sum(newSecret, "msg_1."+unixTime+"."+body))), newSecret, "header Webhook-Signature; id_header Webhook-Id; scheme standard_webhooks; timestamp_header Webhook-Timestamp"},
		{"standard webhooks, its own secret", standardHeader("msg_1", unixTime, "v1,"+std(sum("binary key", "msg_1."+unixTime+"."+body))), "whsec_" + std(inHex), "header Webhook-Signature; id_header Webhook-Id; scheme standard_webhooks; timestamp_header Webhook-Timestamp"},
		{"standard webhooks under other names",
			http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {unixTime}, "Svix-Signature": {"v1a,x v1," + std(sum(newSecret, "msg_1."+unixTime+"."+body))}}, newSecret,
			"header Svix-Signature; id_header Svix-Id; scheme standard_webhooks; timestamp_header Svix-Timestamp"},
		{"a secret in hex", http.Header{DefaultHeader: {sum("binary key", body)}}, inHex, "header X-Axra-Signature; scheme body; secret_encoding hex"},
		{"a secret in base64", http.Header{DefaultHeader: {sum("binary key", body)}}, "whsec_" + std(inHex), "header X-Axra-Signature; scheme body; secret_encoding base64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.header.Set("X-Request-Id", "0af7651916cd43dd8448eb211c80319c")
			test.header.Set("Content-Length", "108")
			fits := Inspect(Captured{Header: test.header, Body: paidBody}, [][]byte{[]byte("another"), []byte(test.secret)}, Verifier{}).Fits
			if len(fits) == 0 || fits[0].Secret != 2 {
				t.Fatalf("found %+v", fits)
			}
			if got := strings.Join(fits[0].Options, "; "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err := fits[0].verify(test.header, paidBody, test.secret); err != nil {
				t.Errorf("the fit does not verify: %v", err)
			}
		})
	}
}

func TestInspectFindsNothingWhereNothingFits(t *testing.T) {
	t.Parallel()
	body := string(paidBody)
	for name, header := range map[string]http.Header{
		"nothing":          {},
		"another secret":   {DefaultHeader: {sum(oldSecret, body)}},
		"another body":     {DefaultHeader: {sum(newSecret, body+" ")}},
		"another hash":     {DefaultHeader: {macOf(sha512.New, newSecret, body)}},
		"the secret":       {"Verif-Hash": {newSecret}},
		"an empty secret":  {DefaultHeader: {sum("", body)}},
		"in Authorization": {"Authorization": {sum(newSecret, body)}},
		"a strange name":   {"X-Sig{": {sum(newSecret, body)}},
	} {
		if fits := Inspect(Captured{Header: header, Body: paidBody}, [][]byte{[]byte(newSecret), {}}, Verifier{}).Fits; fits == nil || len(fits) != 0 {
			t.Errorf("%s: found %+v", name, fits)
		}
	}
}

// Junk with many headers must not keep the operator waiting.
func TestAnInspectionIsBounded(t *testing.T) {
	t.Parallel()
	header := make(http.Header)
	for i := range 60 {
		header.Set("X-"+strings.Repeat("a", i+1), strings.Repeat("0", 64))
		header.Set("Y-"+strings.Repeat("a", i+1), unixTime)
	}
	if n := len(new(Report).verifiers(header)); n > maxTried*(2+maxTried+maxTried*maxTried) {
		t.Errorf("%d ways are tried", n)
	}
}

func TestACapturedRequestIsRead(t *testing.T) {
	t.Parallel()
	body := string(paidBody)
	head := "POST /hooks HTTP/1.1\nHost: example.com\nX-Axra-Signature: " + sum(newSecret, body) + "\n"
	for name, raw := range map[string]string{
		"LF":                     head + "\n" + body,
		"CRLF":                   strings.ReplaceAll(head, "\n", "\r\n") + "\r\n" + body,
		"without a request line": strings.SplitN(head, "\n", 2)[1] + "\n" + body,
		"an editor's line break": head + "\n" + body + "\r\n",
	} {
		request, err := ReadCaptured([]byte(raw))
		if err != nil || !request.Signed {
			t.Errorf("%s: %+v, %v", name, request, err)
		}
		if fits := Inspect(request, [][]byte{[]byte(newSecret)}, Verifier{}).Fits; len(fits) != 1 {
			t.Errorf("%s: found %+v", name, fits)
		}
	}
	for name, raw := range map[string]string{
		"empty": " \n", "only a body": body, "no empty line": head, "no header": "hello\n\nworld", "no headers": "\n{}",
	} {
		if _, err := ReadCaptured([]byte(raw)); !errors.Is(err, ErrCapture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeptRequestHoldsNoCredentials(t *testing.T) {
	t.Parallel()
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
	request.Header.Set("X-Token-Signature", "v1,abc")
	request.Header.Set("My-Token", "kept")
	request.Header.Set("Content-Type", "application/json")
	verifier := prepared(t, Verifier{Header: "My-Token"}, newSecret)
	kept := verifier.Capture(request, paidBody, [][]byte{[]byte("the-secret-" + planted), {}})

	encoded, err := json.Marshal([]Captured{kept})
	if err != nil || bytes.Contains(encoded, []byte(planted)) {
		t.Errorf("a credential is kept: %s, %v", encoded, err)
	}
	if h := kept.Header; h.Get("X-Token-Signature") != "v1,abc" || h.Get("My-Token") != "kept" || len(h) != 2 {
		t.Errorf("what matters is not kept: %v", h)
	}
	again, err := ReadCaptured(encoded)
	if err != nil || !bytes.Equal(again.Body, paidBody) || again.Header.Get("X-Token-Signature") != "v1,abc" {
		t.Errorf("read again: %+v, %v", again, err)
	}
}

func TestRejectedKeepsTheLastOfEachKind(t *testing.T) {
	var rejected Rejected
	for _, request := range []Captured{{Reason: "junk"}, {Reason: "signed", Signed: true}, {Reason: "signed later", Signed: true}, {Reason: "more junk"}} {
		rejected.Keep(request)
	}
	if kept := rejected.All(); len(kept) != 2 || kept[0].Reason != "signed later" || kept[1].Reason != "more junk" {
		t.Errorf("kept %+v", kept)
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{"": "", "cs_123456789": "cs_123456789", "cs_1234567890": "cs_123456789…"} {
		if got := ShortID(id); got != want {
			t.Errorf("%q becomes %q, want %q", id, got, want)
		}
	}
}

func TestWhatCouldBeASignature(t *testing.T) {
	t.Parallel()
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
		"***": false,
	} {
		if got := couldBeSigned(http.Header{"X-Some": {value}}); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
	if !couldBeSigned(http.Header{"X-Signature": {"some-rsa-signature-or-such"}}) || couldBeSigned(http.Header{"X-Signature": {"junk"}}) || couldBeSigned(http.Header{"Cookie": {sum("a", "b")}}) {
		t.Error("the names do not count")
	}
}

func TestAnEventIsDescribedByNames(t *testing.T) {
	t.Parallel()
	described := Inspect(Captured{Body: []byte(`{"event":"payment.completed","timestamp":"2025-06-01T12:00:00Z","livemode":true,"data":{
		"id":"bpay_1","businessPaymentId":"t","amount":5,"currency":null,"customer":{"email":"PLANTED"},
		"metadata":{"sessionId":"cs_1","order":"PLANTED"}}}`)}, nil, Verifier{})
	const want = "data data.amount data.businessPaymentId data.customer data.customer.email data.id data.metadata data.metadata.sessionId event livemode timestamp"
	if got := strings.Join(described.Fields, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzInspect: whatever a captured file holds, what is found verifies.
func FuzzInspect(f *testing.F) {
	f.Add([]byte("POST /x HTTP/1.1\r\nX-Axra-Signature: " + sum(newSecret, string(paidBody)) + "\r\n\r\n" + string(paidBody)))
	f.Add([]byte("Axra: t=" + unixTime + ",v1=" + sum(newSecret, unixTime+".{}") + "\n\n{}\n"))
	f.Add([]byte("Webhook-Id: m\nWebhook-Timestamp: " + unixTime + "\nWebhook-Signature: v1," + inBase64(base64.StdEncoding, sum(newSecret, "m."+unixTime+".{}")) + "\n\n{}"))
	f.Add([]byte("A: " + macOf(sha512.New, newSecret, "{}") + "\n\n{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		request, err := ReadCaptured(raw)
		if err != nil {
			if !errors.Is(err, ErrCapture) {
				t.Fatal(err)
			}
			return
		}
		for _, fit := range Inspect(request, [][]byte{[]byte(newSecret)}, Verifier{}).Fits {
			if fit.verify(request.Header, request.Body, newSecret) != nil {
				t.Fatalf("%+v does not verify", fit)
			}
		}
	})
}
