package manifest

const (
	// MaxFiles in one package: at about 160 bytes a file, a manifest of 16 MB.
	MaxFiles = 100_000
	// MaxSize of an encoded manifest in bytes: MaxFiles with long paths, and
	// what one record of the log can carry.
	MaxSize = 32 << 20
	// MaxFileSize in bytes: what S3 takes as one object (5 TiB, AWS service quotas).
	MaxFileSize = 5 << 40
	// MaxPathLength in bytes; below PATH_MAX (4096) with room for the folder pulled into.
	MaxPathLength = 1024
	// MaxSegmentLength in bytes; NAME_MAX of Linux file systems.
	MaxSegmentLength = 255
)
