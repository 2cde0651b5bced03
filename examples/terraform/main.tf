# The stack of one release. Run ./package.sh first: it downloads the release, checks it and uploads the functions.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

locals {
  packaged = "infisical-rotation-triggers-2.0.0/packaged.yaml" # the version that package.sh downloads
}

variable "bucket" {
  description = "S3 bucket in the stack's region; package.sh uploads the functions to it."
  type        = string
}

variable "machine_identity_id" {
  description = "Id of the machine identity in Infisical."
  type        = string
}

variable "alarm_email" {
  description = "Address that receives the alarms."
  type        = string
}

resource "aws_ssm_parameter" "rotation_map" {
  name  = "/infisical-rotation/map"
  type  = "String"
  value = file("${path.module}/map.json")
}

# As an object: the template is larger than the 51,200 bytes that CloudFormation takes as text.
resource "aws_s3_object" "template" {
  bucket = var.bucket
  key    = local.packaged
  source = "${path.module}/${local.packaged}"
  etag   = filemd5("${path.module}/${local.packaged}")
}

resource "aws_cloudformation_stack" "infisical_rotation" {
  name         = "infisical-rotation"
  template_url = "https://${aws_s3_object.template.bucket}.s3.amazonaws.com/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"] # roles, and the transform of AWS SAM

  parameters = {
    MachineIdentityId    = var.machine_identity_id
    AlarmEmail           = var.alarm_email
    RotationMapParameter = aws_ssm_parameter.rotation_map.name
    ScheduleExpression   = "cron(0 5 ? * MON *)"
    ScheduleState        = "DISABLED"
  }
}

output "roles" {
  description = "Allow these as principals of the machine identity's AWS Auth."
  value       = { for name, value in aws_cloudformation_stack.infisical_rotation.outputs : name => value if endswith(name, "RoleArn") }
}
