package registry

import (
	"errors"
	"mime"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// namePattern is a letter or digit, then letters, digits and ". _ -", without two
// dots in a row. Except for upper case, an OCI repository segment and tag, a
// file name and a URL path segment all allow it.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_-]|\.[A-Za-z0-9_-])*$`)

// versionPattern also allows "+" (semantic versioning, section 10).
var versionPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_+-]|\.[A-Za-z0-9_+-])*$`)

const nameWords = `begin with a letter or digit and continue with letters, digits, "_", "-" and single dots`

// ValidateName checks one of producer, name and retentionClass; field says which.
func ValidateName(field, value string) error {
	return validatePattern(field, value, namePattern, nameWords)
}

// ValidatePackageName checks the name of a package: components of the form of a name,
// joined by "/".
func ValidatePackageName(field, value string) error {
	if len(value) > MaxPackageName {
		return Invalid(field, "must be at most %d bytes, is %d", MaxPackageName, len(value))
	}
	if !strings.Contains(value, "/") {
		return ValidateName(field, value)
	}
	for _, component := range strings.Split(value, "/") {
		if len(component) > MaxFieldLength || !namePattern.MatchString(component) {
			return Invalid(field, `%q must be components joined by "/", each of which must %s, in at most %d bytes`, value, nameWords, MaxFieldLength)
		}
	}
	return nil
}

// ValidateVersion checks a version.
func ValidateVersion(value string) error {
	return validatePattern("version", value, versionPattern, nameWords+` and "+"`)
}

func validatePattern(field, value string, pattern *regexp.Regexp, words string) error {
	if value == "" {
		return Invalid(field, "must not be empty")
	}
	if len(value) > MaxFieldLength {
		return Invalid(field, "must be at most %d bytes, is %d", MaxFieldLength, len(value))
	}
	if !pattern.MatchString(value) {
		return Invalid(field, "%q must %s", value, words)
	}
	return nil
}

// Validate checks the three parts.
func (r PackageRef) Validate() error {
	if err := ValidateName("producer", r.Producer); err != nil {
		return err
	}
	if err := ValidatePackageName("name", r.Name); err != nil {
		return err
	}
	return ValidateVersion(r.Version)
}

// Validate checks what needs no database, and sets the default tier.
func (o *OpenUpload) Validate() error {
	if err := o.PackageRef.Validate(); err != nil {
		return err
	}
	if err := ValidateName("retentionClass", o.RetentionClass); err != nil {
		return err
	}
	switch o.Tier {
	case "":
		o.Tier = TierHot
	case TierHot, TierWarm, TierCold:
	default:
		return Invalid("tier", "%.40q must be hot, warm or cold", string(o.Tier))
	}
	if err := ValidateMediaType("mediaType", o.MediaType); err != nil {
		return err
	}
	if len(o.Annotations) > MaxAnnotations {
		return Invalid("annotations", "must be at most %d, are %d", MaxAnnotations, len(o.Annotations))
	}
	return validateAnnotations("annotations", o.Annotations)
}

func validateAnnotations(field string, annotations map[string]string) error {
	for key, value := range annotations {
		if key == "" || len(key) > MaxAnnotationKey || !IsText(key) {
			return Invalid(field, "the key %.60q must be 1 to %d bytes of UTF-8 without control characters", key, MaxAnnotationKey)
		}
		if len(value) > MaxAnnotationValue || !IsText(value) {
			return Invalid(field, "the value of %q must be at most %d bytes of UTF-8 without control characters such as line ends", key, MaxAnnotationValue)
		}
	}
	return nil
}

// IsText reports whether a text is UTF-8 without control characters (C0, DELETE
// and C1), which terminals obey.
func IsText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// ValidateMediaType checks a media type; "" is none.
func ValidateMediaType(field, value string) error {
	if value == "" {
		return nil
	}
	if parsed, _, err := mime.ParseMediaType(value); err != nil || len(value) > MaxMediaTypeLength || parsed == "" || !IsText(value) {
		return Invalid(field, "%.60q is not a media type (RFC 6838)", value)
	}
	return nil
}

// ValidatePath checks a file's path by the rules of a manifest.
func ValidatePath(field, path string) error {
	var invalid *manifest.InvalidError
	if errors.As(manifest.ValidatePath(path), &invalid) {
		return &InvalidError{Field: field, Message: invalid.Message}
	}
	return nil
}

// ValidateDigests checks that each digest, where known, is of its algorithm.
func ValidateDigests(field string, d digest.Dual) error {
	if a := d.SHA256.Algorithm(); a != "" && a != digest.SHA256 {
		return Invalid(field+".sha256", "must be a sha256, is %s", d.SHA256)
	}
	if a := d.BLAKE3.Algorithm(); a != "" && a != digest.BLAKE3 {
		return Invalid(field+".blake3", "must be a blake3, is %s", d.BLAKE3)
	}
	return nil
}
