package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (r *rig) setFault(f Fault) {
	r.t.Helper()
	if err := r.SetFault(f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) order() reply {
	r.t.Helper()
	return r.api("POST", "/business/payment/session", anOrder)
}

func TestFaultsThatAnswer(t *testing.T) {
	created := func(body []byte) (a sessionAnswer) {
		var e struct{ Data *sessionAnswer }
		e.Data = &a
		_ = json.Unmarshal(body, &e)
		return a
	}
	for _, tc := range []struct {
		fault    Fault
		status   int
		sessions int // how many exist afterwards
		check    func(reply) bool
	}{
		{Fault{Kind: FaultNone}, 201, 1, func(r reply) bool { return created(r.body).SessionID != "" }},
		{Fault{}, 201, 1, func(r reply) bool { return true }},
		{Fault{Kind: FaultUnauthorized}, 401, 0, func(r reply) bool { return json.Valid(r.body) }},
		{Fault{Kind: FaultTooMany}, 429, 0, func(r reply) bool { return r.Header.Get("Retry-After") == "30" }},
		{Fault{Kind: FaultTooMany, RetryAfter: "999999"}, 429, 0, func(r reply) bool { return r.Header.Get("Retry-After") == "999999" }},
		{Fault{Kind: FaultInternal}, 500, 0, func(r reply) bool { return r.Header.Get("Retry-After") == "" }},
		{Fault{Kind: FaultUnavailable}, 503, 0, func(r reply) bool { return r.Header.Get("Retry-After") == "" }},
		{Fault{Kind: FaultUnavailable, RetryAfter: "7"}, 503, 0, func(r reply) bool { return r.Header.Get("Retry-After") == "7" }},
		{Fault{Kind: FaultGarbage}, 200, 0, func(r reply) bool {
			return strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") && !json.Valid(r.body)
		}},
		{Fault{Kind: FaultTruncated}, 201, 1, func(r reply) bool {
			return bytes.HasPrefix(r.body, []byte("{")) && !json.Valid(r.body)
		}},
		{Fault{Kind: FaultWrongHost}, 201, 1, func(r reply) bool {
			return strings.HasPrefix(created(r.body).CheckoutURL, "https://pay.useaxra.com.evil.example/")
		}},
		{Fault{Kind: FaultWrongScheme}, 201, 1, func(r reply) bool {
			return strings.HasPrefix(created(r.body).CheckoutURL, "javascript:")
		}},
		{Fault{Kind: FaultExpired}, 201, 1, func(r reply) bool { return created(r.body).ExpiresAt == "2031-05-17T11:00:00.000Z" }},
		{Fault{Kind: FaultAbsurdExpiry}, 201, 1, func(r reply) bool { return strings.HasPrefix(created(r.body).ExpiresAt, "9999-") }},
		{Fault{Kind: FaultSlow, Pace: time.Microsecond}, 201, 1, func(r reply) bool { return created(r.body).SessionID != "" }},
	} {
		t.Run(string(tc.fault.Kind)+tc.fault.RetryAfter, func(t *testing.T) {
			r := newRig(t, nil)
			r.setFault(tc.fault)
			resp := r.order()
			if resp.StatusCode != tc.status || !tc.check(resp) {
				t.Errorf("%d %v %s", resp.StatusCode, resp.Header, resp.body)
			}
			if n := len(r.Sessions()); n != tc.sessions {
				t.Errorf("%d sessions", n)
			}
			// The fault is the API's alone.
			if r.get("/").StatusCode != 200 {
				t.Error("the dashboard has the fault, too")
			}
			r.setFault(Fault{Kind: FaultNone})
			if resp := r.order(); resp.StatusCode != 201 {
				t.Errorf("not healed: %d", resp.StatusCode)
			}
		})
	}
}

func TestFaultMeetsTokensToo(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultWrongHost}) // means nothing for a token
	body := `{"apiKey":"` + DefaultAPIKey + `","apiSecret":"` + DefaultAPISecret + `"}`
	if resp := r.post(APIPrefix+"/business/auth/token", body); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	r.setFault(Fault{Kind: FaultUnavailable})
	if resp := r.post(APIPrefix+"/business/auth/token", body); resp.StatusCode != 503 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestFaultTimes(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultInternal, Times: 2})
	for i, want := range []int{500, 500, 201, 201} {
		if resp := r.order(); resp.StatusCode != want {
			t.Errorf("call %d: %d", i, resp.StatusCode)
		}
	}
	if calls := r.Calls(); calls[0].Fault != FaultInternal || calls[0].Status != 500 || calls[2].Fault != "" {
		t.Errorf("log %+v", calls)
	}
	for _, f := range []Fault{{Kind: "earthquake"}, {Kind: FaultHang, Times: -1}, {Kind: FaultTooMany, RetryAfter: "1\r\nX: y"}} {
		if err := r.SetFault(f); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func (r *rig) orderWith(ctx context.Context) (*http.Response, error) {
	req := r.request("POST", APIPrefix+"/business/payment/session", anOrder).WithContext(ctx)
	req.Header.Set("x-api-key", DefaultAPIKey)
	return r.client.Do(req)
}

func TestHangEndsWithTheClient(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultHang})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if resp, err := r.orderWith(ctx); !errors.Is(err, context.DeadlineExceeded) {
		if resp != nil {
			resp.Body.Close()
		}
		t.Fatalf("error %v", err)
	}
	// newRig's cleanup closes the server, which waits for the handler.
}

func TestHangEndsWithClose(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultHang})
	failed := make(chan error, 1)
	go func() {
		resp, err := r.orderWith(context.Background())
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	eventually(t, "the call", func() bool { return r.CallCount(RouteSession) == 1 })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the hanging call got an answer")
		}
	case <-time.After(10 * time.Second):
		t.Error("the call still hangs")
	}
}

func TestSlowTakesItsTime(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultSlow, Pace: 20 * time.Millisecond})
	begin := time.Now()
	resp, err := r.orderWith(t.Context())
	if err != nil {
		t.Fatal(err) // the headers come at once
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 80*time.Millisecond {
		t.Errorf("five bytes took %v", took)
	}
}

func TestHugeBody(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultHuge})
	resp, err := r.orderWith(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < hugeBytes {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestRedirectFaultCatchesFollowers(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultRedirect, Times: 1})
	resp := r.order()
	target := resp.Header.Get("Location")
	if resp.StatusCode != 307 || target != r.srv.URL+APIPrefix+"/redirected" {
		t.Fatalf("%d to %s", resp.StatusCode, target)
	}
	if r.CallCount(RouteUnknown) != 0 {
		t.Fatal("the client of this test follows redirects")
	}
	r.post(target, anOrder)
	if r.CallCount(RouteUnknown) != 1 {
		t.Error("who follows is not counted")
	}
}

func TestConnectionReset(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultReset})
	resp, err := r.orderWith(t.Context())
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v", err)
	}
}

func TestConnectionResetOverTLS(t *testing.T) {
	r := newRig(t, nil)
	r.setFault(Fault{Kind: FaultReset})
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(r.Sandbox)
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		defer srv.Close()
		resp, err := srv.Client().Post(srv.URL+APIPrefix+"/x", "application/json", strings.NewReader("{}"))
		if err == nil {
			resp.Body.Close()
			t.Errorf("HTTP/2 %v: an answer came", http2)
		}
	}
}
