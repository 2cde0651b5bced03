// The stack of one release, nested in a stack of a CDK app. Run ../terraform/package.sh here first, and upload the
// packaged template: see README.md.
//
// CfnInclude cannot read the template: it knows no resources that the transform of AWS SAM adds, and the template
// refers to some. CloudFormation transforms a nested stack itself.
import { App, CfnOutput, CfnStack, Stack } from "aws-cdk-lib";

const RELEASE = "infisical-rotation-triggers-2.0.0"; // the version that package.sh downloads

const app = new App();
const stack = new Stack(app, "infisical-rotation");
const rotation = new CfnStack(stack, "Rotation", {
  templateUrl: `https://${app.node.getContext("bucket")}.s3.amazonaws.com/${RELEASE}/packaged.yaml`,
  parameters: {
    MachineIdentityId: app.node.getContext("machineIdentityId"),
    AlarmEmail: app.node.getContext("alarmEmail"),
    ScheduleState: "DISABLED",
  },
});
for (const role of ["DispatchRoleArn", "RotateRoleArn", "AuditRoleArn"]) {
  new CfnOutput(stack, role, { value: rotation.getAtt(`Outputs.${role}`).toString() });
}
