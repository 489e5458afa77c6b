package manifest

const (
	// MaxFiles in one package, links and folders included: at about 160 bytes per file, a manifest of 16 MB.
	MaxFiles = 100_000
	// MaxSize of an encoded manifest in bytes: MaxFiles with long paths. One
	// record of the log can hold as much.
	MaxSize = 32 << 20
	// MaxFileSize in bytes: the limit of one S3 object (5 TiB, AWS service quotas).
	MaxFileSize = 5 << 40
	// MaxPathLength in bytes: below PATH_MAX (4096), with room for the target folder.
	MaxPathLength = 1024
	// MaxSegmentLength in bytes; NAME_MAX of Linux file systems.
	MaxSegmentLength = 255
)
