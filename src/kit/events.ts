/** Events of the cluster. For runbooks. */

/** Field selector of the Events that are not routine: a busy namespace has thousands of the others. */
export const WARNINGS = "type!=Normal";
