package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// spdxMediaType is how tools know an SBOM of this kind among an image's referrers.
const spdxMediaType = "application/spdx+json"

// The parts of SPDX 2.3 that are used here (https://spdx.github.io/spdx-spec/v2.3/).
type spdxDocument struct {
	SPDXVersion       string             `json:"spdxVersion"`
	DataLicense       string             `json:"dataLicense"`
	SPDXID            string             `json:"SPDXID"`
	Name              string             `json:"name"`
	DocumentNamespace string             `json:"documentNamespace"`
	CreationInfo      spdxCreation       `json:"creationInfo"`
	Packages          []spdxPackage      `json:"packages"`
	Relationships     []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	SPDXID                string         `json:"SPDXID"`
	Name                  string         `json:"name"`
	VersionInfo           string         `json:"versionInfo,omitempty"`
	DownloadLocation      string         `json:"downloadLocation"`
	FilesAnalyzed         bool           `json:"filesAnalyzed"`
	PrimaryPackagePurpose string         `json:"primaryPackagePurpose"`
	SourceInfo            string         `json:"sourceInfo,omitempty"`
	Checksums             []spdxChecksum `json:"checksums,omitempty"`
	ExternalRefs          []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm     string `json:"algorithm"`
	ChecksumValue string `json:"checksumValue"`
}

type spdxRef struct {
	ReferenceCategory string `json:"referenceCategory"`
	ReferenceType     string `json:"referenceType"`
	ReferenceLocator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	SPDXElementID      string `json:"spdxElementId"`
	RelationshipType   string `json:"relationshipType"`
	RelatedSPDXElement string `json:"relatedSpdxElement"`
}

// spdx lists the programs, the modules that each was built of, and the Go that built it.
func spdx(o options, programs []program) ([]byte, error) {
	all := sha256.New()
	doc := spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: "artifact-store",
		CreationInfo: spdxCreation{Created: o.created.Format(time.RFC3339), Creators: []string{"Tool: artifact-store hack/tools/image"}},
	}
	seen := map[string]bool{}
	relate := func(from, kind, to string) {
		doc.Relationships = append(doc.Relationships, spdxRelationship{from, kind, to})
	}
	for _, p := range programs {
		sum := sha256.Sum256(p.content)
		all.Write(sum[:])
		itself := spdxPackage{
			SPDXID: spdxID("program", p.name), Name: p.name, VersionInfo: o.version, DownloadLocation: "NOASSERTION",
			PrimaryPackagePurpose: "APPLICATION", Checksums: []spdxChecksum{{"SHA256", hex.EncodeToString(sum[:])}},
		}
		doc.Packages = append(doc.Packages, itself)
		relate(doc.SPDXID, "DESCRIBES", itself.SPDXID)
		modules := []*debug.Module{{Path: "stdlib", Version: p.info.GoVersion}}
		for _, module := range append(modules, p.info.Deps...) {
			if module.Replace != nil {
				module = module.Replace
			}
			id := spdxID("module", module.Path+"@"+module.Version)
			if !seen[id] {
				seen[id] = true
				doc.Packages = append(doc.Packages, modulePackage(id, module))
			}
			relate(itself.SPDXID, "CONTAINS", id)
		}
	}
	doc.DocumentNamespace = home + "/sbom/" + hex.EncodeToString(all.Sum(nil))
	return json.MarshalIndent(doc, "", " ")
}

// writeSBOMs writes the SBOM of each program into a file beside it.
func writeSBOMs(o options, paths []string) error {
	if len(paths) == 0 {
		return errors.New("name the programs")
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		sbom, err := spdx(o, []program{{filepath.Base(path), content, info}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".spdx.json", sbom, 0o644); err != nil { //nolint:gosec // it is for everybody
			return err
		}
	}
	return nil
}

func modulePackage(id string, module *debug.Module) spdxPackage {
	made := spdxPackage{
		SPDXID: id, Name: module.Path, VersionInfo: module.Version, DownloadLocation: "NOASSERTION", PrimaryPackagePurpose: "LIBRARY",
		ExternalRefs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + module.Path + "@" + module.Version}},
	}
	if module.Sum != "" {
		made.SourceInfo = "go.sum " + module.Sum
	}
	return made
}

var notInIDs = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// spdxID is unique although SPDX allows few characters in it.
func spdxID(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("SPDXRef-%s-%s-%x", kind, notInIDs.ReplaceAllString(name, "-"), sum[:4])
}

// referrer is an artifact of one blob that refers to an image (OCI image
// specification 1.1, "guidelines for artifact usage").
type referrer struct {
	manifest []byte
	blob     v1.Layer
}

// emptyConfig is what the specification gives artifacts without a configuration.
var emptyConfig = []byte("{}")

func referTo(subject v1.Image, sbom []byte) (v1.Image, error) {
	to, err := partial.Descriptor(subject)
	if err != nil {
		return nil, err
	}
	blob := static.NewLayer(sbom, spdxMediaType)
	content, err := partial.Descriptor(blob)
	if err != nil {
		return nil, err
	}
	config, size, err := v1.SHA256(bytes.NewReader(emptyConfig))
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: spdxMediaType,
		Config:  v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: config, Size: size},
		Layers:  []v1.Descriptor{{MediaType: content.MediaType, Digest: content.Digest, Size: content.Size}},
		Subject: &v1.Descriptor{MediaType: to.MediaType, Digest: to.Digest, Size: to.Size},
	})
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(&referrer{manifest, blob})
}

func (r *referrer) RawManifest() ([]byte, error)        { return r.manifest, nil }
func (r *referrer) RawConfigFile() ([]byte, error)      { return emptyConfig, nil }
func (r *referrer) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (r *referrer) LayerByDigest(want v1.Hash) (partial.CompressedLayer, error) {
	if digest, err := r.blob.Digest(); err != nil || digest == want {
		return r.blob, err
	}
	return partial.ConfigLayer(r)
}
