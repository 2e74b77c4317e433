// Package settings checks and resolves what a configuration names: secrets, addresses and the database. Errors name
// the fix, and repeat nothing that could be a secret.
package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Secret resolves the placeholder of a secret; empty: none is configured. A literal is refused: Caddy's admin API
// would show it, and its autosaved configuration would hold it.
func Secret(name, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	if err := CheckPlaceholder(name, value); err != nil {
		return "", fmt.Errorf("axra: %w", err)
	}
	resolved := strings.TrimSpace(resolve(value))
	if resolved == "" {
		return "", fmt.Errorf("axra: %s %s is empty in the running Caddy: set that variable and restart, or use {file./path}", name, value)
	}
	return resolved, nil
}

// resolve replaces the placeholders of a value; empty: one of them is unknown or empty.
func resolve(value string) string {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil {
		return ""
	}
	return resolved
}

// CheckPlaceholder returns an error if the value of a secret is not a placeholder.
func CheckPlaceholder(name, value string) error {
	inner, isOpened := strings.CutPrefix(value, "{")
	inner, isClosed := strings.CutSuffix(inner, "}")
	isPlaceholder := isOpened && isClosed && !strings.ContainsAny(inner, "{}")
	if isPlaceholder && (strings.HasPrefix(inner, "env.") || strings.HasPrefix(inner, "file.")) {
		return nil
	}
	return fmt.Errorf("%s must be a placeholder, so that the secret stays out of the configuration: "+
		"write {env.NAME} or {file./path} (not {$NAME}, which Caddy expands into the configuration)", name)
}

// Secrets are those of an Axra business.
type Secrets struct {
	Key, Secret string   // of the API
	Webhook     [][]byte // which may sign webhooks
}

// ResolveSecrets resolves the placeholders of all secrets. Without secrets for webhooks the API secret may sign them.
func ResolveSecrets(key, secret string, webhooks []string) (s Secrets, err error) {
	if s.Key, err = Secret("api_key", key); err != nil {
		return s, err
	}
	if s.Secret, err = Secret("api_secret", secret); err != nil {
		return s, err
	}
	if s.Secret != "" && s.Key == "" {
		return s, errors.New("axra: api_secret is set without api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	for _, webhook := range webhooks {
		resolved, err := Secret("webhook_secret", webhook)
		if err != nil {
			return s, err
		}
		if resolved == "" {
			return s, errors.New("axra: webhook_secret is empty: anybody could sign with it; remove it or give it a value")
		}
		s.Webhook = append(s.Webhook, []byte(resolved))
	}
	if len(s.Webhook) == 0 && s.Secret != "" {
		s.Webhook = [][]byte{[]byte(s.Secret)}
	}
	return s, nil
}
