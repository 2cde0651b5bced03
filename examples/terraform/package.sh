#!/bin/sh
# Download a release, check it, and upload its functions: sh package.sh OWNER/REPOSITORY BUCKET
set -eu
repository=$1 bucket=$2
name=infisical-rotation-triggers-2.0.0
gh release download "v${name##*-}" --repo "$repository" --pattern "$name.zip" --clobber
gh attestation verify "$name.zip" --repo "$repository"
rm -rf "$name"
unzip -q "$name.zip"
sam package --template-file "$name/template.yaml" --s3-bucket "$bucket" --output-template-file "$name/packaged.yaml"
