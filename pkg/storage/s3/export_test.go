package s3

// CopyInParts has promote copy what is larger than largest in parts of that size: the
// service's limit is 5 GiB.
func CopyInParts(b *Backend, largest int64) { b.maxCopy, b.copyPart = largest, largest }
