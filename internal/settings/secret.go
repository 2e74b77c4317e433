// Package settings checks and resolves what a configuration names: secrets, addresses and the database. Errors name
// the fix, and repeat nothing that could be a secret.
package settings

import (
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
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	resolved = strings.TrimSpace(resolved)
	if err != nil || resolved == "" {
		return "", fmt.Errorf("axra: %s %s is empty in the running Caddy: set that variable and restart, or use {file./path}", name, value)
	}
	return resolved, nil
}

// CheckPlaceholder returns an error if the value of a secret is no placeholder.
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
