# Events of Secrets Manager for aiocredentials.eventbridge: a rule, a topic, and a queue per process
# that holds secrets. template.yaml describes the same resources for CloudFormation.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "The first part of the names of queues."
  type        = string
  default     = "rotation-push"
}

variable "processes" {
  description = "A name for each process that reads events."
  type        = set(string)
  default     = ["Orders1", "Orders2"]
}

locals {
  # Secrets Manager sends the first kind of event for each secret. The other two kinds need a trail
  # of CloudTrail in the account. Without one, that rule never matches.
  patterns = {
    label_updated = {
      source        = ["aws.secretsmanager"]
      "detail-type" = ["Secret Label Updated"]
    }
    deleted_or_failed = {
      source        = ["aws.secretsmanager"]
      "detail-type" = ["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"]
      detail        = { eventName = ["DeleteSecret", "RestoreSecret", "RotationFailed"] }
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_cloudwatch_event_rule" "rules" {
  for_each      = local.patterns
  event_pattern = jsonencode(each.value)
}

resource "aws_cloudwatch_event_target" "topic" {
  for_each = aws_cloudwatch_event_rule.rules
  rule     = each.value.name
  arn      = aws_sns_topic.rotations.arn
}

# A rule has at most five targets, and a topic delivers to any number of queues.
resource "aws_sns_topic" "rotations" {
  name = "${var.name}-rotations"
}

resource "aws_sns_topic_policy" "rotations" {
  arn    = aws_sns_topic.rotations.arn
  policy = data.aws_iam_policy_document.topic.json
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.rotations.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = values(aws_cloudwatch_event_rule.rules)[*].arn
    }
  }
}

# Messages that a process has received ten times without handling them.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 1209600
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "A process rejects messages in its rotation queue, or can't refresh secrets."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
}

resource "aws_sqs_queue" "rotations" {
  for_each                = var.processes
  name                    = "${var.name}-rotations-${each.key}"
  sqs_managed_sse_enabled = true
  # Older events aren't needed, because the TTL has refreshed the value by then.
  message_retention_seconds  = 3600
  visibility_timeout_seconds = 60
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 10
  })
}

resource "aws_sqs_queue_policy" "rotations" {
  for_each  = aws_sqs_queue.rotations
  queue_url = each.value.url
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

data "aws_iam_policy_document" "queue" {
  for_each = aws_sqs_queue.rotations
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [each.value.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.rotations.arn]
    }
  }
}

resource "aws_sns_topic_subscription" "rotations" {
  for_each             = aws_sqs_queue.rotations
  topic_arn            = aws_sns_topic.rotations.arn
  protocol             = "sqs"
  endpoint             = each.value.arn
  raw_message_delivery = true
}

# Attach it to the role of the service, beside secretsmanager:GetSecretValue on its secrets.
resource "aws_iam_policy" "reader" {
  name   = "${var.name}-reader"
  policy = data.aws_iam_policy_document.reader.json
}

data "aws_iam_policy_document" "reader" {
  statement {
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = ["arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:${var.name}-rotations-*"]
  }
}

output "reader_policy" {
  description = "The policy for the role of the service."
  value       = aws_iam_policy.reader.arn
}

output "queue_urls" {
  description = "The queue of each process."
  value       = { for process, queue in aws_sqs_queue.rotations : process => queue.url }
}
