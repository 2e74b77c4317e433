package token

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// head is what a known header says about a token.
type head struct {
	kid       string
	typ       string
	method    jwt.SigningMethod
	verifying any
}

// addHeads adds the encoded headers under which a key signs.
func addHeads(heads map[string]head, k *key) {
	add := func(algorithm, typ string, verifying any) {
		encoded, _ := json.Marshal(headerOf(algorithm, k.id, typ)) // three strings
		written := base64.RawURLEncoding.EncodeToString(encoded)   // as sign writes it
		heads[written] = head{kid: k.id, typ: typ, method: jwt.GetSigningMethod(algorithm), verifying: verifying}
	}
	add(k.algorithm, typeAccess, k.verifying)
	for use, derived := range k.derived {
		add(HS256, use.typ(), derived)
	}
}

// headerOf holds alg, kid and typ, and none of jku, jwk, x5c and crit.
func headerOf(algorithm, kid, typ string) map[string]any {
	return map[string]any{"alg": algorithm, "kid": kid, "typ": typ}
}

// IsOfUnknownKey reports whether a text looks like an access token of a key that is not known, such as a removed
// one or one of another installation. It does not check the signature.
func (k *Keyring) IsOfUnknownKey(raw string) bool {
	written, _, _ := strings.Cut(raw, ".")
	if snap := k.snap.Load(); snap == nil || len(raw) > MaxSize || strings.Count(raw, ".") != 2 {
		return false
	} else if _, known := snap.heads[written]; known {
		return false
	}
	var header struct {
		Typ string `json:"typ"`
	}
	decoded, err := base64.RawURLEncoding.DecodeString(written)
	return err == nil && json.Unmarshal(decoded, &header) == nil && header.Typ == typeAccess
}
