package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const tokenLifetime = 3600 * time.Second

// tokenAnswer is the response to RouteToken. [authentication]
type tokenAnswer struct {
	AccessToken  string `json:"accessToken"`
	TokenType    string `json:"tokenType"`
	ExpiresIn    int    `json:"expiresIn"`
	BusinessID   string `json:"businessId"`
	BusinessName string `json:"businessName"`
}

func (s *Sandbox) issueToken(body []byte) (*tokenAnswer, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	key, err := f.text("apiKey", true, nil)
	if err != nil {
		return nil, err
	}
	secret, err := f.text("apiSecret", true, nil)
	if err != nil {
		return nil, err
	}
	if !same(key, s.cfg.APIKey) || !same(secret, s.cfg.APISecret) {
		return nil, unauthorized("the API key or the API secret is wrong")
	}
	return &tokenAnswer{
		AccessToken:  s.signToken(s.now().Add(tokenLifetime)),
		TokenType:    "Bearer",
		ExpiresIn:    int(tokenLifetime / time.Second),
		BusinessID:   "biz_sandbox",
		BusinessName: "Sandbox Business",
	}, nil
}

// authenticate accepts both ways of the documentation. [authentication]
func (s *Sandbox) authenticate(r *http.Request) error {
	if key := r.Header.Get("X-Api-Key"); key != "" {
		if same(key, s.cfg.APIKey) {
			return nil
		}
		return unauthorized("the API key is wrong")
	}
	if token, ok := bearer(r); ok {
		if s.validToken(token) {
			return nil
		}
		return unauthorized("the access token is wrong or has expired")
	}
	return unauthorized("credentials are missing")
}

func unauthorized(message string) *apiError {
	return &apiError{Status: http.StatusUnauthorized, Code: "unauthorized", Message: message}
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, ok && strings.EqualFold(scheme, "Bearer")
}

// signToken makes a token that carries its own expiry and signature: tokens
// need no memory and survive a restart.
func (s *Sandbox) signToken(expires time.Time) string {
	payload := "bat_" + strconv.FormatInt(expires.Unix(), 10) + "_" + newSecret()
	return payload + "_" + s.tokenSignature(payload)
}

func (s *Sandbox) validToken(token string) bool {
	cut := strings.LastIndexByte(token, '_')
	if cut < 0 || !same(token[cut+1:], s.tokenSignature(token[:cut])) {
		return false
	}
	seconds, _, _ := strings.Cut(strings.TrimPrefix(token[:cut], "bat_"), "_")
	expires, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && s.now().Unix() < expires
}

func (s *Sandbox) tokenSignature(payload string) string {
	// The label keeps these apart from webhook signatures under the same secret.
	mac := hmac.New(sha256.New, []byte("access token "+s.cfg.APISecret))
	mac.Write([]byte(payload))
	return hex.EncodeToString(mac.Sum(nil))
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
