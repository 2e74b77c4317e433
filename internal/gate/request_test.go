package gate

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// TestObfuscationsAreDecodedOnce: FB6, several gates share what a hostile path takes milliseconds to decode.
func TestObfuscationsAreDecodedOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/x/"+strings.Repeat("%25c0%25af..;/", 500), nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	paths := urlpath.Suspicious(r.URL)
	began := time.Now()
	first, ok := obfuscationsOf(r, paths)
	if took := time.Since(began); took < 100*time.Microsecond {
		t.Fatalf("the path is not hostile: %v", took)
	}
	second, again := obfuscationsOf(r, paths)
	if ok != again || len(first) != len(second) || len(first) > 0 && &first[0] != &second[0] {
		t.Error("the obfuscations were decoded again")
	}
}
