//go:build !unix

package preflight

// Access rights and owners are checked on Unix only.
func isReadable(string) bool { return true }
func isWritable(string) bool { return true }

func ownerOf(string) (uid uint32, ok bool) { return 0, false }
