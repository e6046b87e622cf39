import com.pixelmed.validate.DicomSRValidator;

/** Judges each report named on the command line with one compiled set of templates. */
class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("=== " + file);
            System.out.println(validator.validate(file));
        }
    }
}
