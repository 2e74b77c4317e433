//go:build !unix

package ledger

func ownAs(string, string) error { return nil }

func syncDirectory(string) error { return nil }
